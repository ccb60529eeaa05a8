# Made from lognode/client/aio/agreement.py by scripts/sync-client: change that file, then run the script.
"""What nodes agree on, as methods of the client: causal order."""

from typing import cast
from urllib.parse import quote

from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import Relation
from lognode.client.sync.session import Session


class Agreement:
    """The part of a client that is about what all nodes come to from the same spans."""

    _session: Session
    _base: str

    def relation(self, span_id: str, other: str) -> Relation:
        """How one span stands to another: before, after or concurrent. Raises CallerError("span.unknown")."""
        path = f"{self._base}/spans/{quote(span_id, safe='')}/relation/{quote(other, safe='')}"
        return cast("Relation", parse_answer(self._session.request("GET", path)))
