"""State on nodes, against a model that looks at every span and at what its author knew, and at nothing else."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.ids import SpanId
from lognode.core.span import ORGANIZATION, PRIVATE, PUBLIC, Range
from lognode.timeline.agreement.subjects import RESOLVE, REVERT, fold
from lognode.timeline.control.policies import MANUAL, tenant_policy_data
from lognode.timeline.store.agreement import subjects
from lognode.timeline.store.agreement.rebuilding import rebuild_state
from lognode.timeline.store.agreement.subjects import Registers, State
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

SUBJECTS = ("tap 1", "tap 2")
KINDS = ("tap.set", "tap.fixed")


class Said(NamedTuple):
    """A span as its author wrote it."""

    id: SpanId
    pen: int
    seq: int
    kind: str
    subject: str
    cause: SpanId | None
    private: bool


class Story:
    """A tenant of three nodes, what they said, and what each knew; `cut` is how much of the last one's feed counts."""

    def __init__(self) -> None:
        self.founder = Founder()
        self.pens: list[Pen] = [self.founder, self.founder.member(2), self.founder.member(3)]
        self.said: list[Said] = []
        self.claims: dict[int, list[tuple[int, int, int]]] = {0: [], 1: [], 2: []}  # seq, other, size
        self.cut: int | None = None
        self.manual: set[str] = set()

    def counted(self, pen: int) -> int:
        size = len(self.pens[pen].entries)
        return size if self.cut is None or pen != 2 else min(size, self.cut)

    def past(self, pen: int, seq: int) -> dict[int, int]:
        """How much of each feed whoever wrote this entry knew."""
        known = {pen: seq + 1}
        while True:
            before = dict(known)
            for feed, size in before.items():
                for at, other, named in self.claims[feed]:
                    if at < min(size, self.counted(feed)):
                        known[other] = max(known.get(other, 0), min(named, self.counted(other)))
            if known == before:
                return known

    def model(self, subject: str) -> tuple[set[SpanId], SpanId | None]:
        """Ids of what the heads stand for, and of what holds, by the words of the document."""
        spans = {span.id: span for span in self.said if not span.private and span.seq < self.counted(span.pen)}

        def live(span: Said) -> bool:
            return not any(
                live(other)
                for other in spans.values()
                if other.kind == REVERT and other.cause == span.id and other.subject == span.subject
            )

        def content(span: Said) -> Said | None:
            meant = spans.get(span.cause or SpanId(b"")) if span.kind == RESOLVE else span
            is_value = meant is not None and meant.kind in KINDS and meant.subject == span.subject
            return meant if meant and is_value and live(meant) and live(span) else None

        standing = [span for span in spans.values() if span.subject == subject and content(span) is not None]
        pasts = {span.id: self.past(span.pen, span.seq) for span in standing}
        heads = [
            span
            for span in standing
            if not any(other is not span and pasts[other.id].get(span.pen, 0) > span.seq for other in standing)
        ]
        meant = {span.id: said for span in heads if (said := content(span))}
        is_open = len(heads) > 1 and any(said.kind in self.manual for said in meant.values())
        greatest = max(meant, default=None)
        holds = None if is_open or greatest is None else meant[greatest].id
        return {said.id for said in meant.values()}, holds


Deed = tuple[int, str, int, int]
WHAT = ("say", "say", "say", "merge", "merge", "revert", "resolve", "cut", "policy")
DEEDS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WHAT), st.integers(0, 2), st.integers(0, 9)), max_size=18)


def tell(deeds: Sequence[Deed]) -> Story:
    story, cut = Story(), None
    for pen, what, about, number in deeds:
        writer, subject = story.pens[pen], SUBJECTS[about % 2]
        cause = story.said[-1 - number % len(story.said)].id if story.said else None
        seq = len(writer.entries)
        if what == "merge" and about != pen and not is_named(story, pen, about):
            other = story.pens[about]
            story.claims[pen].append((seq, about, len(other.entries)))
            writer.merge(other.head)
        elif what == "cut" and cut is None:
            cut = len(story.pens[2].entries)
        elif what == "policy":
            kind = KINDS[number % 2]
            story.founder.newest = story.founder.write(
                "tenant.policy", tenant_policy_data([story.founder.newest], kind, MANUAL), visibility=PUBLIC
            )
            story.manual.add(kind)
        elif what in ("say", "revert", "resolve"):
            kind = {"say": KINDS[number % 2], "revert": REVERT, "resolve": RESOLVE}[what]
            cause = None if what == "say" else cause
            is_private = number == 9
            visibility = PRIVATE if is_private else ORGANIZATION
            span = writer.write(kind, encode(number), subject=subject, caused_by=cause, visibility=visibility)
            story.said.append(Said(span, pen, seq, kind, subject, cause, is_private))
    if cut is not None:
        story.founder.remove(story.pens[2].keys, (story.pens[2], cut))
        story.cut = cut
    return story


def is_named(story: Story, pen: int, other: int) -> bool:
    """Whether a feed has said this much of another already: no merge says so twice."""
    return any(named == len(story.pens[other].entries) for _, feed, named in story.claims[pen] if feed == other)


def states(node: Receiver) -> list[State]:
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    registers = Registers(node.conn, node.tenant, feeds, node.book.members.policies)
    return [registers.read(subject) for subject in SUBJECTS]


def shown(found: Sequence[State]) -> list[tuple[set[SpanId], SpanId | None]]:
    return [
        ({head.means.id for head in state.fold.heads}, state.fold.value.means.id if state.fold.value else None)
        for state in found
    ]


@st.composite
def deliveries(draw: st.DrawFn, story: Story) -> list[list[Range]]:
    """All entries in any parts and any order, some together."""
    parts: list[Range] = []
    for pen in story.pens:
        size = len(pen.entries)
        ends = sorted({0, size, *draw(st.lists(st.integers(min(2, size), size), max_size=3))})
        parts += [pen.range(start, stop) for start, stop in pairwise(ends)]
    parts = draw(st.permutations(parts))
    return [parts] if draw(st.booleans()) else [[part] for part in parts]


def check(deeds: list[Deed], data: st.DataObject) -> None:
    """Pass if a node that gets it in some order comes to what all spans say."""
    story = tell(deeds)
    batches = data.draw(deliveries(story))
    node = Receiver(story.founder.tenant)
    for _ in range(2 * sum(map(len, batches))):
        for batch in batches:
            node.take(*batch)
        if sum(node.clock().size(pen.feed_id) for pen in story.pens) == sum(len(pen.entries) for pen in story.pens):
            break
    found = states(node)
    assert shown(found) == [story.model(subject) for subject in SUBJECTS]
    assert all(state.local is None for state in found)

    disputed = {subject for (subject,) in node.conn.execute("SELECT subject FROM disputes")}
    assert {state.subject for state in found if state.fold.is_conflict} <= disputed
    assert all(table.changed == 0 for table in rebuild_state(node.conn).values())
    assert shown(states(node)) == shown(found)


test_every_node_comes_to_what_all_spans_say = settings(max_examples=100, deadline=None)(given(DEEDS, st.data())(check))


# Ways to be wrong, each by what it puts in the place of a part.
BROKEN: Final[dict[str, tuple[object, str, object]]] = {
    "merges tell nothing": (subjects, "_clock_of", lambda *_: lambda feed, seq: {feed: seq + 1}),
    "what is cut counts": (Registers, "_counts", lambda _self, _said: True),
    "nothing is taken back": (Registers, "_reverts", lambda *_, **__: []),
    "a resolution stands whatever it chose": (Registers, "_means", lambda _self, said, *_, **__: said),
    "no policy is heeded": (subjects, "fold", lambda found, clock_of, _policies: fold(found, clock_of, {})),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_law_finds_what_is_broken(name: str) -> None:
    owner, part, wrong = BROKEN[name]
    law = settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate])(
        given(DEEDS, st.data())(check)
    )
    with mock.patch.object(owner, part, wrong), pytest.raises(AssertionError):
        law()
