"""What is in force for a past is the same on every node, whatever the order in which spans came to it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId
from lognode.engine.service.ruling.programs import Programs
from lognode.engine.service.standings import Standings
from lognode.timeline.agreement.rules.publications import DISABLE, PUBLISH, rule_disable_data, rule_publish_data
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

DEEDS: Final = st.lists(
    st.tuples(
        st.integers(0, 2),  # the founder, another root, a node that only writes
        st.sampled_from(("publish", "publish", "publish", "disable", "broken", "level")),
        st.sampled_from("ab"),
        st.integers(0, 3),  # how much of what the founder wrote is named, from the end
    ),
    max_size=10,
)


def text_of(name: str, number: int) -> bytes:
    return f'rules: {name}\ndo:\n  - id: x\n    on: draft\n    kinds: [a]\n    then: [{{note: "{number}"}}]\n'.encode()


def play(deeds: Sequence[tuple[int, str, str, int]]) -> list[Pen]:
    """Feeds in which members publish, also who may not, naming more or less of what they might."""
    founder = Founder()
    acts: list[SpanId] = [founder.newest, founder.admit(keys_of(2), Level.ROOT), founder.admit(keys_of(3))]
    pens = [founder, Pen(keys_of(2), founder.tenant, [acts[1]]), Pen(keys_of(3), founder.tenant, [acts[2]])]
    for number, (who, what, name, less) in enumerate(deeds):
        pen, after = pens[who], [acts[max(0, len(acts) - 1 - less)]]
        hlc = max(each.next_hlc for each in pens)
        if what == "level":
            level = (Level.TRUSTED, Level.ROOT)[number % 2]
            acts.append(
                founder.change(keys_of(2 + number % 2), level, *((each, len(each.entries)) for each in pens[1:]))
            )
        elif what == "disable":
            pen.write(DISABLE, rule_disable_data(after, name), hlc=hlc)
        else:
            text = b"rules: []" if what == "broken" else text_of(name, number)
            pen.write(PUBLISH, rule_publish_data(after, name, "yaml", text), hlc=hlc)
    return pens


def in_force(node: Receiver, past: dict[FeedId, int]) -> dict[str, Any]:
    """The last words and the versions in force, told apart from the numbers that the node gave."""
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    standings = Standings()
    standings.publish(node.tenant.number, node.book.members)
    programs = Programs(SimpleNamespace(feeds=feeds), standings)  # type: ignore[arg-type]
    numbers = {feed.feed_id: number for number, feed in feeds.items()}
    ruled = programs.ruled(
        node.conn, node.tenant, {numbers[feed]: size for feed, size in past.items() if feed in numbers}
    )
    return {name: (word.id, name in ruled.sets and ruled.sets[name].hash) for name, word in ruled.words.items()}


@settings(max_examples=30, deadline=None)
@given(DEEDS, st.randoms(), st.data())
def test_arrival_changes_nothing_of_what_is_in_force(
    deeds: list[tuple[int, str, str, int]], chance: Any, data: st.DataObject
) -> None:
    pens = play(deeds)
    one, other = Receiver(pens[0].tenant), Receiver(pens[0].tenant)
    one.take(*(pen.range() for pen in pens))
    parts = [pen.range(0, len(pen.entries) // 2 or 1) for pen in pens]
    chance.shuffle(parts)
    other.take(pens[0].range())
    for part in parts:
        other.take(part)
    rest = [pen.range(len(pen.entries) // 2 or 1) for pen in pens[1:] if len(pen.entries) // 2 or len(pen.entries) > 1]
    chance.shuffle(rest)
    for part in rest:
        if part.entries:
            other.take(part)
    for _ in range(3):
        past = {pen.feed_id: data.draw(st.integers(0, len(pen.entries))) for pen in pens}
        assert in_force(one, past) == in_force(other, past)
    # What lies outside of a past makes no difference to it, held or not.
    past = {pens[0].feed_id: len(pens[0].entries)}
    alone = Receiver(pens[0].tenant)
    alone.take(pens[0].range())
    assert in_force(alone, past) == in_force(one, past)
