"""What spans come to on all nodes, as methods of the client: subjects, conflicts, policies, causal order, forks.

No change is sent twice: one that was made and whose answer was lost would be made again.
"""

from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import quote

import msgspec

from lognode.client.aio.session import AsyncSession
from lognode.client.answers import parse_answer
from lognode.client.answers.agreement import BranchEntries, Fork, Relation
from lognode.client.answers.node import Receipt
from lognode.client.answers.state import Policies, Rebuilt, Resolved, Subject


class AsyncState:
    """The part of a client that is about what all nodes come to from the same spans."""

    _session: AsyncSession
    _base: str

    async def subject(self, subject: str) -> Subject:
        """What the spans about a subject come to. Raises CallerError("subject.unknown")."""
        # Parts of a path that are dots alone would be taken for the way to other parts.
        path = quote(subject, safe="").replace(".", "%2E")
        return cast("Subject", await self._ask("GET", f"{self._base}/subjects/{path}"))

    def subjects(self, prefix: str = "") -> AsyncIterator[Subject]:
        """The subjects that begin with `prefix`, by their text, read page by page as they are iterated."""
        params = [("prefix", prefix)] if prefix else []
        return self._pages(f"{self._base}/subjects", params)

    def conflicts(self, *, open_only: bool = False) -> AsyncIterator[Subject]:
        """The subjects about which spans contradict each other; with `open_only`, those of which nothing holds."""
        params = [("open", "true")] if open_only else []
        return self._pages(f"{self._base}/conflicts", params)

    async def resolve(self, subject: str, span_id: str) -> Resolved:
        """Decide a conflict: the span with this id, one of its heads, holds.

        Raises CallerError conflict.none or conflict.unknown_head.
        """
        choice = {"subject": subject, "span": span_id}
        return cast("Resolved", await self._ask("POST", f"{self._base}/conflicts/resolve", choice))

    async def revert(self, span_id: str, *, reason: str = "") -> Receipt:
        """Take a span back. Raises CallerError span.unknown, revert.refused or revert.done."""
        path = f"{self._base}/spans/{quote(span_id, safe='')}/revert"
        return cast("Receipt", await self._ask("POST", path, {"reason": reason}))

    async def policies(self) -> Policies:
        """How conflicts are settled, by kind."""
        return cast("Policies", await self._ask("GET", f"{self._base}/policies"))

    async def change_policy(self, kind: str, policy: str) -> Receipt:
        """Have conflicts between spans of a kind settled so: latest, manual. Raises CallerError("member.not_root")."""
        path = f"{self._base}/policies/{quote(kind, safe='')}"
        return cast("Receipt", await self._ask("PUT", path, {"policy": policy}))

    async def rebuild_state(self) -> Rebuilt:
        """Have the node make again what it keeps beside spans to read state from; what that changed."""
        return cast("Rebuilt", await self._ask("POST", f"{self._base}/state/rebuild"))

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

    async def _pages(self, path: str, params: list[tuple[str, str]]) -> AsyncIterator[Subject]:
        after: list[tuple[str, str]] = []
        while True:
            page = parse_answer(await self._session.request("GET", path, params=[*params, *after]))
            for subject in page["subjects"]:
                yield cast("Subject", subject)
            if page["next"] is None:
                return
            after = [("after", page["next"])]

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        content = b"" if body is None else msgspec.json.encode(body)
        headers = [] if body is None else [("Content-Type", "application/json")]
        patient = method == "GET"
        return parse_answer(
            await self._session.request(method, path, content=content, headers=headers, patient=patient)
        )
