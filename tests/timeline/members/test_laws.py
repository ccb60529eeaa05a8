"""Laws of membership, on histories that nobody wrote by hand."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from time import perf_counter
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.ids import FeedId, SpanId
from lognode.timeline.control.invites import invite_id
from lognode.timeline.control.policies import POLICIES
from lognode.timeline.control.shown import FIELDS
from lognode.timeline.members import Control, Membership, membership, settlement
from lognode.timeline.members.history import read_history
from lognode.timeline.members.ruling import Ruling
from tests.independent.protocol.membership import membership as second
from tests.timeline.members.nodes import World, joined, keys_of, pair_of, past_of
from tests.vectors.memberships import describe_tenant

NAMES: Final = ("founder", "a", "b", "c", "d", "e")
LEVELS: Final = (Level.OBSERVER, Level.TRUSTED, Level.ROOT)
NAME = st.sampled_from(NAMES)
DEED = st.tuples(
    NAME,
    st.sampled_from(
        ("learn", "admit", "by invite", "remove", "level", "open", "adopt", "rotate", "declare", "revoke", "policy")
    ),
    NAME,
    st.integers(0, 3),
)
DEEDS = st.lists(DEED, min_size=4, max_size=24)


def play(deeds: Sequence[tuple[str, str, str, int]]) -> World:
    """A tenant in which nodes do all kinds of things, also what they may not, knowing what they happen to know."""
    world = World()
    joined(world, "a", "b")
    world.founder.invite("ticket", uses=1)
    world.nodes["a"].learn(world.founder)
    world.nodes["a"].invite("token", uses=2)
    for name, what, other, number in deeds:
        node, target = world.node(name), world.node(other)
        cuts = [(target.feed, number)] if number else []
        if what == "learn":
            node.learn(target)
        elif what == "admit" and node is not target:
            node.admit(other, LEVELS[number % 3])
        elif what == "by invite" and node is not target:
            node.admit(other, LEVELS[number % 3], invite=("ticket", "token")[number % 2])
        elif what == "remove":
            node.remove(other, cuts)
        elif what == "level":
            node.set_level(other, Level(number), cuts)
        elif what == "open":
            node.open()
        elif what == "adopt" and target.size:
            node.adopt(target.feed, number + 1)
        elif what == "rotate":
            node.rotate(f"{name} {number}", recovery="words" if number == 2 else None, old=other, cuts=cuts)
        elif what == "declare":
            node.declare(f"words {number}" if number > 1 else "words", former="words" if number == 3 else None)
        elif what == "revoke":
            node.revoke(other, "words", cuts)
        elif what == "policy":
            node.set_policy(f"kind.{number % 2}", POLICIES[number // 2])
    return world


@settings(max_examples=100, deadline=None)
@given(DEEDS, st.randoms())
def test_arrival_and_repetition_change_nothing(deeds: list[tuple[str, str, str, int]], chance: object) -> None:
    world = play(deeds)
    spans = list(world.spans.values())
    expected = membership(world.tenant, spans)
    chance.shuffle(spans)  # type: ignore[attr-defined]
    assert membership(world.tenant, [*spans, *spans[::3]]) == expected


@settings(max_examples=60, deadline=None)
@given(DEEDS)
def test_a_second_version_written_from_the_page_comes_to_the_same(deeds: list[tuple[str, str, str, int]]) -> None:
    world = play(deeds)
    vector = describe_tenant(world)
    found = asdict(second.membership(world.tenant, vector["controls"]))
    assert found == {name: vector[name] for name in found}


@settings(max_examples=100, deadline=None)
@given(DEEDS)
def test_what_is_said_fits_together(deeds: list[tuple[str, str, str, int]]) -> None:
    world = play(deeds)
    result = world.result()
    spans = world.spans
    assert result.voids.keys() <= spans.keys()
    assert result.cuts.keys() <= {span.feed for span in spans.values()}
    for span in spans.values():
        cut = result.cuts.get(span.feed)
        if cut and span.seq >= cut.size:
            assert span.id in result.voids
    for key, member in result.members.items():
        assert member.node_key == key
        assert member.admission in spans
        assert not (member.removed and member.level)
        assert spans[member.admission].kind in {"tenant.create", "member.admit", "identity.rotate"}
        if member.level:
            assert member.admission not in result.voids
    assert set(result.certificates.values()) == {key for key, member in result.members.items() if member.level}
    for invite in result.invites.values():
        assert len(invite.joiners) <= invite.uses


@settings(max_examples=100, deadline=None)
@given(DEEDS)
@example([("b", "level", "b", 2), ("b", "remove", "b", 0)])
def test_whoever_is_a_member_may_write_and_nobody_else(deeds: list[tuple[str, str, str, int]]) -> None:
    """A node that knows everything opens a feed: it counts just when the node may write."""
    world = play(deeds)
    result = world.result()
    feeds = {span.feed: span.author for span in world.spans.values()}
    members = {key for key, member in result.members.items() if not member.removed}
    assert {feed for feed, author in feeds.items() if author not in members} <= result.cuts.keys()
    for node in list(world.nodes.values()):
        node.learn(*world.nodes.values()).open()
    result = world.result()
    for node in world.nodes.values():
        assert (node.feed in result.cuts) == (result.level(node.keys.public) < Level.TRUSTED)


@settings(max_examples=100, deadline=None)
@given(DEEDS)
def test_where_nobody_is_cut_an_act_comes_to_what_its_own_past_says(deeds: list[tuple[str, str, str, int]]) -> None:
    world = play([deed for deed in deeds if deed[1] in {"learn", "admit", "open", "declare"}])
    result = world.result()
    for span in list(world.spans.values())[-6:]:
        founding = [held for held in world.spans.values() if held.author == world.founder.keys.public][:2]
        alone = membership(world.tenant, [*founding, *past_of(world.spans, span).values()])
        assert alone.voids.get(span.id) == result.voids.get(span.id)


SPAN_IDS = st.binary(min_size=24, max_size=24).map(SpanId)
FEEDS = st.sampled_from([FeedId(bytes([number]) * 16) for number in range(3)])
SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=70) | st.text(max_size=9),
    lambda items: st.lists(items, max_size=4),
    max_leaves=14,
)
JUNK = st.builds(
    Control,
    SPAN_IDS,
    FEEDS,
    st.integers(0, 3),
    st.integers(0, 2**63 - 1),
    st.sampled_from([keys_of(name).public for name in NAMES]),
    st.sampled_from([*FIELDS, "quorum.set", "member", "feed.closed"]),
    st.binary(max_size=40) | SCRAPS.map(encode) | st.lists(SCRAPS, min_size=2, max_size=12).map(encode),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(JUNK, max_size=12))
def test_there_is_an_answer_to_anything(junk: list[Control]) -> None:
    world = World()
    joined(world, "a")
    result = membership(world.tenant, [*junk, *world.spans.values()])
    assert result.level(world.founder.keys.public) == Level.ROOT
    for span in junk:
        if span.kind != "feed.open":
            assert span.id in result.voids
    membership(world.tenant, junk)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_circles_of_links_end(data: st.DataObject) -> None:
    """Two feeds whose spans name each other, which takes hashes that nobody can make: still an answer."""
    world = World()
    joined(world, "a")
    ids = [SpanId(bytes([number]) * 24) for number in range(8)]
    circle = [
        Control(
            id_, FeedId(bytes([number % 2]) * 16), number // 2, data.draw(st.integers(0, 9)), keys_of("a").public,
            "invite.revoke",
            encode([sorted(set(data.draw(st.lists(st.sampled_from(ids), max_size=3)))), bytes(16)]),
        )
        for number, id_ in enumerate(ids)
    ]  # fmt: skip
    spans = [*world.spans.values(), *circle]
    assert membership(world.tenant, spans) == membership(world.tenant, spans[::-1])


def test_what_can_count_in_no_case_takes_no_place_in_pasts() -> None:
    """A member that is no root, and never can be, writes a hundred times what only a root may."""
    world = World()
    (a,) = joined(world, "a", level=Level.TRUSTED)
    spans = [
        span
        for number in range(20)
        for span in (
            a.remove("founder"), a.set_level("founder", Level.OBSERVER), a.invite(f"ticket {number}"),
            a.revoke_invite("ticket"), a.adopt(world.founder.feed, 9), a.admit("b"),
        )
    ]  # fmt: skip
    history = read_history(world.tenant, list(world.spans.values()), {})
    assert (len(history.acts), len(history.idle)) == (2, len(spans))
    assert max(act.past for act in history.idle) < 1 << 2
    result = world.result()
    assert {result.voids[span.id] for span in spans} == {"member.not_root"}
    world.founder.learn(a).set_level("a", Level.ROOT)
    a.learn(world.founder).open()
    assert world.void(a.admit("b")) is None


def rotated_again_and_again() -> World:
    """A key is given up for one after the other, each time in knowledge of the times before; and once, at first, for
    one that wins against all of them."""
    world = World()
    (a,) = joined(world, "a", level=Level.TRUSTED)
    names = [f"a {number}" for number in range(40)]
    names.sort(key=lambda name: sha256(a.keys.public + keys_of(name).public).digest())
    before = dict(a.known)
    a.rotate(names[0])
    a.known = before
    a.open()
    for name in names[1:]:
        a.rotate(name)
    return world


def invited_again_and_again() -> World:
    """The same with an invite of one use."""
    world = World()
    a, b = joined(world, "a", "b")
    a.invite("ticket")
    b.learn(a)
    names = [f"guest {number}" for number in range(40)]
    ticket = invite_id(world.tenant, pair_of("ticket").public)
    names.sort(key=lambda name: sha256(ticket + keys_of(name).public).digest())
    b.admit(names[0], invite="ticket")
    for name in names[1:]:
        a.admit(name, invite="ticket")
    return world


@pytest.mark.parametrize("make", [rotated_again_and_again, invited_again_and_again])
def test_a_key_that_loses_again_and_again_takes_few_judgings(
    make: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    judgings = settlement.Judgings()
    monkeypatch.setattr(settlement, "Judgings", lambda: judgings)
    result = world.result()
    assert judgings._count < 36
    assert membership(world.tenant, list(world.spans.values())[::-1]) == result
    monkeypatch.setattr(settlement, "CONTESTS_MAX", 1000)
    before = judgings._count
    assert world.result().members == result.members
    assert judgings._count - before >= 40


def test_many_feeds_take_no_time_and_an_answer_takes_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of 10,000 feeds is compared with that of 1,000, in one run: no more than in proportion."""
    world = World()
    nodes = joined(world, *[f"node {number}" for number in range(20)], level=Level.TRUSTED)
    world.founder.remove("node 3")
    spans = list(world.spans.values())
    opening = next(span for span in spans if span.author == nodes[0].keys.public)
    many = [
        opening._replace(id=SpanId(number.to_bytes(24, "big")), feed=FeedId(number.to_bytes(16, "big")))
        for number in range(10_000)
    ]
    rounds: list[int] = []
    rule = settlement._rule

    def counting(*arguments: Any) -> Ruling:
        rounds.append(1)
        return rule(*arguments)

    monkeypatch.setattr(settlement, "_rule", counting)

    def time_of(count: int) -> float:
        started = perf_counter()
        result = membership(world.tenant, [*spans, *many[:count]])
        took = perf_counter() - started
        assert len(result.members) == 21
        return took

    time_of(10_000)
    small, large = min(time_of(1000) for _ in range(3)), min(time_of(10_000) for _ in range(3))
    assert large < 40 * small
    assert len(rounds) == 7 * 2


@settings(max_examples=100, deadline=None)
@given(DEEDS)
def test_what_somebody_might_do_at_a_point_is_what_judges_its_acts(
    deeds: list[tuple[str, str, str, int]],
) -> None:
    """Of any key, by any act's past: also where acts were cut, contested or decided by votes."""
    world = play(deeds)
    rulings: list[Ruling] = []
    answer = settlement._answer

    def answering(ruling: Ruling) -> Membership:
        rulings.append(ruling)
        return answer(ruling)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_answer", answering)
        result = world.result()
    (ruling,) = rulings
    before = {(span.feed, span.seq): span.id for span in world.spans.values()}
    keys = {span.author for span in world.spans.values()} | {keys_of("nobody").public}
    for act in ruling.history.acts[1:]:
        control = act.control
        earlier = [before[control.feed, seq] for seq in range(control.seq) if (control.feed, seq) in before]
        for key in keys:
            said = ruling.standing.level(key, act.past)
            assert result.level_at(key, [*act.data.after, *earlier]) == (Level.BLOCKED if said is None else said)
    assert {key: result.level_at(key, world.spans) for key in result.members} == {
        key: member.level for key, member in result.members.items()
    }


@settings(max_examples=50, deadline=None)
@given(DEEDS, st.data())
def test_what_comes_later_changes_nothing_of_what_somebody_might_do_before(
    deeds: list[tuple[str, str, str, int]], data: st.DataObject
) -> None:
    """As long as it takes nobody's acts away."""
    world = play([deed for deed in deeds if deed[1] in {"learn", "admit", "open", "declare", "policy"}])
    result, spans = world.result(), list(world.spans.values())
    founding = [span for span in spans if span.author == world.founder.keys.public][:2]
    span = data.draw(st.sampled_from(spans))
    past = past_of(world.spans, span)
    alone = membership(world.tenant, [*founding, *past.values()])
    for key in {held.author for held in spans}:
        assert result.level_at(key, [span.id]) == alone.level_at(key, [span.id]) == alone.level(key)
        assert result.level_at(key, [span.id]) == result.level_at(key, past)


def test_a_node_that_was_raised_might_do_more_only_by_what_tells_so() -> None:
    world = World()
    (a,) = joined(world, "a", level=Level.TRUSTED)
    opened = next(span for span in world.spans.values() if span.feed == a.feed and span.seq == 0)
    key = a.keys.public
    raised = world.founder.learn(a).set_level("a", Level.ROOT, cuts=())
    unknown = SpanId(bytes(24))
    result = world.result()
    assert result.level_at(key, [opened.id]) == Level.TRUSTED
    assert result.level_at(key, [opened.id, raised.id]) == Level.ROOT
    assert result.level_at(key, [unknown]) == Level.BLOCKED
    assert result.level_at(world.founder.keys.public, []) == Level.ROOT
    lowered = world.founder.set_level("a", Level.OBSERVER)
    result = world.result()
    assert result.level_at(key, [opened.id, raised.id]) == Level.ROOT
    assert result.level_at(key, [opened.id, raised.id, lowered.id]) == Level.OBSERVER
    assert membership(world.tenant, []).level_at(key, [raised.id]) == Level.BLOCKED
