"""What nodes agree on, as methods of the client: causal order, and whose word others take for it."""

from typing import cast
from urllib.parse import quote

from lognode.client.aio.session import AsyncSession
from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import Relation


class AsyncAgreement:
    """The part of a client that is about what all nodes come to from the same spans."""

    _session: AsyncSession
    _base: str

    async def policy(self, *, quorum: int | None = None) -> bytes:
        """A C2SP tlog-policy of the tenant, as text: its feeds, its witnesses, and how many have to have cosigned."""
        params = [] if quorum is None else [("quorum", str(quorum))]
        return await self._session.request("GET", f"{self._base}/policy", params=params)

    async def relation(self, span_id: str, other: str) -> Relation:
        """How one span stands to another: before, after or concurrent. Raises CallerError("span.unknown")."""
        path = f"{self._base}/spans/{quote(span_id, safe='')}/relation/{quote(other, safe='')}"
        return cast("Relation", parse_answer(await self._session.request("GET", path)))
