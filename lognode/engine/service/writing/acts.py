"""Spans that a node writes in its own name, whose data follows from what is known at that moment.

Control spans, and those by which rule sets are published. For whoever has the writer's turn. Invariant: no control span
is written that would be void.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.errors.federation.refusals import refusal_of
from lognode.core.ids import SpanId
from lognode.core.span import PUBLIC, is_control
from lognode.engine.commit import AppendPlan
from lognode.engine.receipt import Receipt
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.engine.service.writing.openings import Openings, step_of
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef

# The data of a span, from the membership and the newest control spans.
Build = Callable[[Membership, list[SpanId]], bytes]
Plan = Callable[[TenantRef, Sequence[Sequence[Draft]]], Awaitable[AppendPlan]]


class Acts:
    """Writes them."""

    def __init__(
        self, openings: Openings, ledger: Ledger, plan: Plan, commit: Callable[[Sequence[Step]], Awaitable[None]]
    ) -> None:
        self._openings = openings
        self._ledger = ledger
        self._plan = plan
        self._commit = commit

    async def append(self, tenant: TenantRef, like: Draft, build: Build, receipts: list[Receipt]) -> None:
        """Write one; its receipt is put into `receipts`. Raises CallerError as `Writer.append_control` does."""
        state, book = await self._openings.state(tenant), await self._ledger.book(tenant)
        assert state.head is not None
        draft = msgspec.structs.replace(like, data=build(book.members, book.after(state.head.feed.feed_id)))
        if not is_control(like.kind):
            plan = await self._plan(tenant, [[draft]])
            await self._commit([step_of(plan)])
            receipts += plan.outcomes[0][0]
            return
        plan = await self._plan(tenant, [[msgspec.structs.replace(draft, visibility=PUBLIC)]])
        step = self._openings.step(plan, book)
        receipt = plan.outcomes[0][0][0]
        assert step.book is not None
        void = step.book.members.voids.get(receipt.id)
        # A removal by a root that may not decide alone is a vote.
        if void and (like.kind, void) != ("member.remove", "member.not_senior"):
            refusal = refusal_of(void)
            raise CallerError("control.void", refusal.why, extra={"reason": void}, hint=refusal.hint)
        await self._commit([step])
        receipts.append(receipt)
