"""What nodes agree on, as methods of the client: causal order."""

from typing import cast
from urllib.parse import quote

from lognode.client.aio.session import AsyncSession
from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import Relation


class AsyncAgreement:
    """The part of a client that is about what all nodes come to from the same spans."""

    _session: AsyncSession
    _base: str

    async def relation(self, span_id: str, other: str) -> Relation:
        """How one span stands to another: before, after or concurrent. Raises CallerError("span.unknown")."""
        path = f"{self._base}/spans/{quote(span_id, safe='')}/relation/{quote(other, safe='')}"
        return cast("Relation", parse_answer(await self._session.request("GET", path)))
