"""The simulator finds what it is for: each broken variant of the protocol or the engine fails in some world."""

from collections.abc import Callable
from typing import Any

import pytest

import lognode.engine.ingest.plan as ingest
from lognode.core.errors import PeerError
from lognode.core.span import Range, leaf_hashes
from lognode.engine.control.opening import NONCES_BYTES, Moment
from lognode.engine.ingest import rows
from lognode.engine.ingest.proof import Proven
from lognode.engine.service.writing import openings
from lognode.engine.service.writing.openings import Openings
from lognode.protocol import reconcile, summary
from lognode.protocol.messages import FeedHead
from lognode.sim.machines import machine
from lognode.sim.simulation import Scenario
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.members.ruling import Ruling
from lognode.timeline.proof.tree import grow
from lognode.timeline.record import TenantRef
from lognode.timeline.state import TenantState
from tests.sim.worlds import faults_in, is_found

Patch = pytest.MonkeyPatch


def drop_the_gap_check(patch: Patch) -> None:
    """What comes is taken for what comes next."""
    whole = ingest.plan_ingest

    def plan(ground: Any, ranges: Any, foretold: Any) -> Any:
        moved = []
        for part in ranges:
            head = ground.feeds.get(part.feed)
            size = head.border.size if head else 0
            moved.append(part._replace(start=size) if part.start > size else part)
        return whole(ground, moved, foretold)

    patch.setattr("lognode.engine.service.writing.intake.plan_ingest", plan)
    accept_unproven_ranges(patch)


def accept_unproven_ranges(patch: Patch) -> None:
    """A range is taken whether or not it leads to the signed root."""

    def prove(_tenant: Any, head: Any, found: Range) -> Proven:
        held = head.border.size
        entries = found.entries[held - found.start :]
        leaves = leaf_hashes(head.feed.feed_id, held, entries)
        return Proven(entries, leaves, grow(head.border, leaves), found.note)

    patch.setattr(ingest, "prove_range", prove)


def accept_stubs(patch: Patch) -> None:
    """A span of all members may be withheld."""
    whole = rows._inert

    def inert(entry: Any, floor: int) -> Any:
        try:
            return whole(entry, floor)
        except PeerError:
            return rows.Inert(entry.hlc, entry.visibility, entry.header_sha256, None, "withheld")

    patch.setattr(rows, "_inert", inert)


def skip_one_feed(patch: Patch) -> None:
    """Of the feeds that differ, one is left out."""
    whole = reconcile._differing_heads
    patch.setattr(reconcile, "_differing_heads", lambda node, mine: whole(node, mine)[1:])


def compare_sizes_only(patch: Patch) -> None:
    """Feeds of one size are taken for the same."""

    def line(head: FeedHead) -> bytes:
        return head.feed + head.size.to_bytes(8, "big") + head.foretold

    def is_other(head: FeedHead, ours: FeedHead) -> bool:
        return (head.size, head.foretold) != (ours.size, ours.foretold)

    whole = reconcile._differing_heads
    patch.setattr(summary, "_line", line)
    patch.setattr(
        reconcile,
        "_differing_heads",
        lambda node, mine: [head for head in whole(node, mine) if is_other(head, mine.head(head.feed))],
    )


def go_on_in_a_cut_feed(patch: Patch) -> None:
    """A node writes where it wrote before, whatever became of that feed."""
    whole = Openings.state

    async def state(openings: Openings, tenant: TenantRef) -> TenantState:
        found = await openings._ledger.state(tenant)
        return await whole(openings, tenant) if found.head is None or found.ending else found

    patch.setattr(Openings, "state", state)


def cut_nothing(patch: Patch) -> None:
    """What lies beyond a fork or a removal counts as the rest does."""
    patch.setattr(Ruling, "cut", lambda _ruling, _feed: None)


def go_on_without_continuity(patch: Patch) -> None:
    """A node that was put back to an earlier time writes as if nothing had happened."""
    patch.setattr(machine, "judge", lambda _before, _now: "plain")


def name_epochs_by_number(patch: Patch) -> None:
    """The id of a new feed follows from how many there were, so that two copies of a node choose the same."""

    def moment(openings: Openings) -> Moment:
        own = sum(feed.own for feed in openings._store.feeds.values())
        return Moment(openings._world.now_ms(), own.to_bytes(NONCES_BYTES, "big"))

    patch.setattr(Openings, "moment", moment)


def merge_what_is_ahead(patch: Patch) -> None:
    """A merge names spans however far they are ahead of time."""
    patch.setattr(Fresh, "is_sound", lambda tree, _now_ms, size_max: size_max is None or tree.size <= size_max)


def open_feeds_anywhere(patch: Patch) -> None:
    """A new feed begins at what the clock says, whatever its node holds."""
    patch.setattr(openings, "find_newest_hlc", lambda _conn, _tenant, _below: 0)


VARIANTS: dict[str, tuple[Callable[[Patch], None], list[Scenario]]] = {
    "drop the gap check": (drop_the_gap_check, [Scenario(seed, 5, "skips") for seed in range(20)]),
    "accept unproven ranges": (accept_unproven_ranges, [Scenario(seed, 5, "corrupts") for seed in range(20)]),
    "accept stubs": (accept_stubs, [Scenario(seed, 5, "censors") for seed in range(20)]),
    "skip one feed": (skip_one_feed, [Scenario(seed, 4) for seed in range(10)]),
    "go on in a cut feed": (go_on_in_a_cut_feed, [Scenario(seed, 6, recoveries=True) for seed in range(30)]),
    "cut nothing": (cut_nothing, [Scenario(seed, 5, "forks") for seed in range(20)]),
    "go on without continuity": (go_on_without_continuity, [Scenario(seed, 4, copies=True) for seed in range(20, 50)]),
    "name epochs by number": (name_epochs_by_number, [Scenario(seed, 4, copies=True) for seed in range(20)]),
    "open feeds anywhere": (open_feeds_anywhere, [Scenario(seed, 4) for seed in range(10)]),
    "merge what is ahead": (merge_what_is_ahead, [Scenario(seed, 4) for seed in range(10)]),
    "compare sizes only": (compare_sizes_only, [Scenario(seed, 4, "forks") for seed in range(80)]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_broken_variant_is_found(name: str, monkeypatch: Patch) -> None:
    breaks, scenarios = VARIANTS[name]
    assert not faults_in(scenarios[:3]), "nothing is broken yet"
    breaks(monkeypatch)
    assert is_found(scenarios)
