"""What the writer does about feeds with two histories: keeps proofs and the other histories, and tells everybody.

Invariant: whoever may write passes on each proof that it knows, in a span that counts, so that all come to know it.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import BRANCHES_MAX
from lognode.core.span import Range
from lognode.engine.control.book import Book
from lognode.engine.ingest.branches import Beside, Weighed, plan_branch, weigh
from lognode.engine.receipt import Receipt
from lognode.engine.service.agreement.alerts import Alerts
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.engine.service.writing.mailbox import Turn
from lognode.timeline.control.forks import feed_fork_data, parse_feed_fork
from lognode.timeline.members import Membership
from lognode.timeline.proof.fork import ForkProof, format_fork
from lognode.timeline.record import TenantRef
from lognode.timeline.state import CLONED, DOUBT, WritePlan
from lognode.timeline.store.controls import read_evidence
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.ranges import find_feed, read_opening_data, read_part, read_side, read_tips

KIND: Final = "feed.fork"
_PROVES_NOTHING: Final = frozenset({"fork.invalid", "body.malformed"})
Build = Callable[[Membership, list[SpanId]], bytes]


class ForkWork(NamedTuple):
    """What the writer does for it: commits, control spans (the receipt is put into a list), and turns for both."""

    commit: Callable[[Sequence[Step]], Awaitable[None]]
    append_control: Callable[[TenantRef, Draft, Build, list[Receipt]], Awaitable[None]]
    take_turn: Callable[[Turn], Awaitable[None]]


class Forks:
    """The forks that are known to the writer."""

    def __init__(self, store: Store, ledger: Ledger, alerts: Alerts, own_key: bytes, work: ForkWork) -> None:
        self._store = store
        self._ledger = ledger
        self._alerts = alerts
        self._own_key = own_key
        self._work = work

    async def keep(self, tenant: TenantRef, feed: FeedId, ranges: Sequence[Range]) -> ForkProof | None:
        """The proof that these ranges, one behind the other, are of another history of a feed than the one held here.

        It is kept then, with them, and told to all in a span, where this node may write. None where they prove nothing.
        Raises NodeFault as an append does.
        """
        kept: list[ForkProof] = []
        await self._work.take_turn(Turn(tenant, partial(self._keep, tenant, feed, ranges, kept)))
        if kept:
            await self.tell(tenant)
        return kept[0] if kept else None

    async def tell(self, tenant: TenantRef) -> None:
        """Write a span for each proof of a fork that no span which counts has. Raises NodeFault as an append does."""
        with suppress(CallerError):  # whoever may not write has nothing to tell
            await self._work.take_turn(Turn(tenant, partial(self._tell, tenant)))

    async def _keep(self, tenant: TenantRef, feed: FeedId, ranges: Sequence[Range], kept: list[ForkProof]) -> None:
        found = await self._store.write(plan_kept, tenant, ranges)
        if found is None:
            return
        proof, write = found
        state, numbers = await self._ledger.state(tenant), await self._ledger.numbers()
        book = (await self._ledger.book(tenant)).proven({feed: proof.seq})
        verdicts = book.verdicts(tenant.number, partial(self._ledger.find_feed, tenant.number))
        await self._work.commit([Step(write._replace(verdicts=[verdicts]), state, numbers, book, ())])
        kept.append(proof)

    async def _tell(self, tenant: TenantRef) -> None:
        book = await self._ledger.book(tenant)
        if book.members.level(self._own_key) < Level.TRUSTED:
            return
        evidence = await self._store.write(read_evidence, tenant)
        for proof in untold(book, evidence.values()):
            state = await self._ledger.state(tenant)
            if state.head is not None and state.head.feed.feed_id == proof.feed and state.ending in {None, DOUBT}:
                await self._ledger.end_feed(tenant, CLONED)  # behind the fork nothing would count, the proof neither
            await self._work.append_control(tenant, Draft(kind=KIND), partial(_data, proof), [])


def _data(proof: ForkProof, _members: Membership, after: list[SpanId]) -> bytes:
    return feed_fork_data(after, proof)


def untold(book: Book, evidence: Iterable[ForkProof]) -> list[ForkProof]:
    """Proofs that are known, found here or read in spans that do not count, and that no span which counts has."""
    told: dict[FeedId, int] = {}
    known: dict[FeedId, ForkProof] = {proof.feed: proof for proof in evidence}
    for span, control in sorted(book.controls.items()):
        if control.kind != KIND or book.members.voids.get(span) in _PROVES_NOTHING:
            continue
        try:
            proof = parse_feed_fork(control.data).proof
        except CallerError:
            continue
        feed = proof.feed
        if span not in book.members.unknown:
            told[feed] = min(proof.seq, told.get(feed, proof.seq))
        elif feed not in known or proof.seq < known[feed].seq:
            known[feed] = proof
    return [proof for feed, proof in sorted(known.items()) if feed not in told or proof.seq < told[feed]]


def weigh_range(conn: sqlite3.Connection, tenant: TenantRef, found: Range) -> Weighed:
    """How a range of another node compares with what is held. For a reader's thread."""
    beside = _beside(conn, tenant, found)
    return Weighed("apart") if beside is None else weigh(beside, found)


def plan_kept(
    conn: sqlite3.Connection, tenant: TenantRef, ranges: Sequence[Range]
) -> tuple[ForkProof, WritePlan] | None:
    """The proof that ranges are of another history of a feed, and the rows of both; None where they are not."""
    beside = _beside(conn, tenant, ranges[0])
    found = None if beside is None else plan_branch(beside, ranges)
    if beside is None or found is None:
        return None
    proof, rows = found
    tips = read_tips(conn, beside.feed)
    if rows[1] in tips or len(tips) >= BRANCHES_MAX:
        rows = []
    evidence = [tenant.number, beside.feed.feed_id, proof.seq, format_fork(proof)]
    return proof, WritePlan({"evidence": evidence, "branches": rows}, [], [], [])


def _beside(conn: sqlite3.Connection, tenant: TenantRef, found: Range) -> Beside | None:
    """What is held beside a range; None where that does not reach to it."""
    feed = find_feed(conn, tenant, found.feed)
    part = read_part(conn, feed, found.start, found.stop) if feed else None
    if feed is None or part is None:
        return None
    opening = read_opening_data(conn, feed)
    return Beside(tenant, feed, opening, part.border, part.leaves, partial(read_side, conn, feed))
