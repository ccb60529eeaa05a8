"""What nodes agree on, as methods of the client: causal order, forks, and whose word others take for it."""

from typing import cast
from urllib.parse import quote

from lognode.client.aio.session import AsyncSession
from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import BranchEntries, Fork, Relation


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

    async def forks(self) -> list[Fork]:
        """The feeds of the tenant that are known to have two histories."""
        answer = parse_answer(await self._session.request("GET", f"{self._base}/forks"))
        return cast("list[Fork]", answer["forks"])

    async def fork(self, feed: str) -> Fork:
        """One feed with two histories. Raises CallerError("fork.unknown")."""
        return cast("Fork", parse_answer(await self._session.request("GET", self._fork_path(feed))))

    async def fork_proof(self, feed: str) -> bytes:
        """The proof that a feed has two histories, as a file. Raises CallerError("fork.unknown")."""
        return await self._session.request("GET", f"{self._fork_path(feed)}/proof")

    async def fork_entries(self, feed: str, tip: str, *, start: int = 0) -> BranchEntries:
        """Entries of one history of a forked feed, behind the fork. Raises CallerError("fork.unknown")."""
        path = f"{self._fork_path(feed)}/branches/{quote(tip, safe='')}"
        return cast(
            "BranchEntries",
            parse_answer(await self._session.request("GET", path, params=[("start", str(start))] if start else [])),
        )

    def _fork_path(self, feed: str) -> str:
        return f"{self._base}/forks/{quote(feed, safe='')}"
