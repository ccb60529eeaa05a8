# Made from lognode/client/aio/agreement.py by scripts/sync-client: change that file, then run the script.
"""What nodes agree on, as methods of the client: causal order, forks, and whose word others take for it."""

from typing import cast
from urllib.parse import quote

from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import BranchEntries, Fork, Relation
from lognode.client.sync.session import Session


class Agreement:
    """The part of a client that is about what all nodes come to from the same spans."""

    _session: Session
    _base: str

    def policy(self, *, quorum: int | None = None) -> bytes:
        """A C2SP tlog-policy of the tenant, as text: its feeds, its witnesses, and how many have to have cosigned."""
        params = [] if quorum is None else [("quorum", str(quorum))]
        return self._session.request("GET", f"{self._base}/policy", params=params)

    def relation(self, span_id: str, other: str) -> Relation:
        """How one span stands to another: before, after or concurrent. Raises CallerError("span.unknown")."""
        path = f"{self._base}/spans/{quote(span_id, safe='')}/relation/{quote(other, safe='')}"
        return cast("Relation", parse_answer(self._session.request("GET", path)))

    def forks(self) -> list[Fork]:
        """The feeds of the tenant that are known to have two histories."""
        answer = parse_answer(self._session.request("GET", f"{self._base}/forks"))
        return cast("list[Fork]", answer["forks"])

    def fork(self, feed: str) -> Fork:
        """One feed with two histories. Raises CallerError("fork.unknown")."""
        return cast("Fork", parse_answer(self._session.request("GET", self._fork_path(feed))))

    def fork_proof(self, feed: str) -> bytes:
        """The proof that a feed has two histories, as a file. Raises CallerError("fork.unknown")."""
        return self._session.request("GET", f"{self._fork_path(feed)}/proof")

    def fork_entries(self, feed: str, tip: str, *, start: int = 0) -> BranchEntries:
        """Entries of one history of a forked feed, behind the fork. Raises CallerError("fork.unknown")."""
        path = f"{self._fork_path(feed)}/branches/{quote(tip, safe='')}"
        return cast(
            "BranchEntries",
            parse_answer(self._session.request("GET", path, params=[("start", str(start))] if start else [])),
        )

    def _fork_path(self, feed: str) -> str:
        return f"{self._base}/forks/{quote(feed, safe='')}"
