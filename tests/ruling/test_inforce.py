"""Which rule sets are in force: by publications, pasts and who might publish, whatever the order."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import (
    RULE_SET_BYTES_MAX,
    RULE_SETS_BYTES_MAX,
    RULE_SETS_MAX,
    RULE_TEXT_VAIN_BYTES_MIN,
    RULE_TEXTS_VAIN_BYTES_MAX,
)
from lognode.engine.ruling.inforce import NOT_ROOT, Publications, fault_of_span, in_force, last_words
from lognode.timeline.agreement.rules.publications import Publication
from tests.timeline.members.nodes import Node, World, joined

FEEDS = (3, 5, 8)
LATE = 2**40
# Name, feed, whether it disables, whether it is sound.
SAID = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(FEEDS), st.booleans(), st.booleans()), max_size=12)
PASTS = st.fixed_dictionaries({}, optional={feed: st.integers(0, 12) for feed in FEEDS})


def never(_: Publication) -> bool:
    return False


def published(said: Sequence[tuple[str, int, bool, bool]]) -> list[Publication]:
    """Each later than those before it, in its feed too; every other seq is something else's."""
    sizes = dict.fromkeys(FEEDS, 0)
    found = []
    for number, (name, feed, disables, _) in enumerate(said):
        sizes[feed] += 2
        id_ = SpanId(number.to_bytes(8, "big") + sha256(bytes([number])).digest()[:16])
        digest = None if disables else sha256(id_).digest()
        found.append(
            Publication(name, digest, id_, feed, FeedId(bytes([feed] * 16)), sizes[feed], 100 - number, bytes(32), ())
        )
    return found


@given(SAID, PASTS, st.randoms())
def test_of_each_name_the_last_sound_word_in_the_past_holds(
    said: list[tuple[str, int, bool, bool]], past: dict[int, int], chance: object
) -> None:
    all_said = published(said)
    sound = {one for one, (*_, is_sound) in zip(all_said, said, strict=True) if is_sound}
    expected: dict[str, Publication] = {}
    for one in all_said:
        if one in sound and one.seq < past.get(one.feed, 0):
            expected[one.name] = one
    chance.shuffle(all_said)  # type: ignore[attr-defined]
    publications = Publications(all_said)
    within = publications.within(past, lambda one: one.hash is None and one not in sound)
    words = last_words(within, sound.__contains__).words
    assert words == expected
    assert in_force(words) == {name: one for name, one in expected.items() if one.hash}


@given(SAID, PASTS, PASTS)
def test_pasts_with_one_signature_have_the_same_in_them(
    said: list[tuple[str, int, bool, bool]], past: dict[int, int], other: dict[int, int]
) -> None:
    publications = Publications(published(said))
    held, others = ({name: [*one] for name, one in publications.within(at, never).items()} for at in (past, other))
    is_same = held == others
    assert (publications.signature(past) == publications.signature(other)) == is_same


def test_no_more_are_in_force_than_a_node_may_have_to_keep() -> None:
    said = [(f"set-{number:03}", 3, False, True) for number in range(RULE_SETS_MAX + 5)]
    words = last_words(Publications(published(said)).within({3: LATE}, never), lambda _: True).words
    assert len(words) == RULE_SETS_MAX + 5
    names = [name for name, *_ in said]
    assert list(in_force(words)) == names[:RULE_SETS_MAX]
    sizes = dict.fromkeys(names, RULE_SETS_BYTES_MAX // 3)
    sizes[names[1]], sizes[names[5]] = RULE_SETS_BYTES_MAX, RULE_SETS_BYTES_MAX - 3 * (RULE_SETS_BYTES_MAX // 3)
    large = {name: one._replace(size=sizes[name]) for name, one in words.items()}
    assert list(in_force(large)) == [names[0], *names[2:4], names[5]]


def of_size(name: str, size: int, number: int = 0) -> Publication:
    id_ = SpanId(number.to_bytes(8, "big") + bytes(16))
    return Publication(name, bytes([number]), id_, 3, FeedId(bytes(16)), number, number, bytes(32), (), "yaml", size)


def test_nobody_has_others_read_more_than_they_have_in_force_and_a_bounded_rest() -> None:
    large, tried = RULE_SET_BYTES_MAX, list[Publication]()
    bad = [of_size(f"a{number:04}", large, number) for number in range(100)]

    def is_sound(one: Publication) -> bool:
        tried.append(one)
        return one.name > "b"

    good = of_size("c", 10, 200)
    last = last_words({one.name: [one] for one in [*bad, good]}, is_sound)
    assert len(tried) == RULE_TEXTS_VAIN_BYTES_MAX // large
    assert last.words == {}
    assert last.untried == bad[len(tried)].name
    # Who says that nothing shall be of these names makes room.
    off = {one.name: [one._replace(hash=None, media=None, size=0)] for one in bad}
    assert last_words({**off, "c": [good]}, is_sound).words["c"] is good
    # What has no room in force is not read either.
    tried.clear()
    many = {f"c{number:04}": [of_size(f"c{number:04}", 10, number % 256)] for number in range(200)}
    last = last_words(many, is_sound)
    assert (len(tried), len(last.words), last.untried) == (RULE_SETS_MAX, 200, None)
    assert len(in_force(last.words)) == RULE_SETS_MAX


def test_short_texts_count_as_more_than_they_are() -> None:
    tried = 0

    def is_sound(_: Publication) -> bool:
        nonlocal tried
        tried += 1
        return False

    last = last_words({"a": [of_size("a", 1, number % 256) for number in range(10_000)]}, is_sound)
    assert (tried, last.untried) == (RULE_TEXTS_VAIN_BYTES_MAX // RULE_TEXT_VAIN_BYTES_MIN, "a")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0, 1, 65536]), st.booleans()), max_size=60))
def test_what_is_told_of_the_last_words_is_what_is_in_force(said: list[tuple[str, int, bool]]) -> None:
    """What has room when the words are looked for has it among all of them too."""
    named: dict[str, list[Publication]] = {}
    sound = set[SpanId]()
    asked = set[SpanId]()
    for number, (name, size, is_sound) in enumerate(said):
        one = of_size(name, size, number)
        named.setdefault(name, []).append(one if size else one._replace(hash=None, media=None))
        sound |= {one.id} if is_sound else set()

    def check(one: Publication) -> bool:
        asked.add(one.id)
        return one.id in sound

    last = last_words(named, check)
    assert {one.id for one in in_force(last.words).values()} == asked & sound


@pytest.fixture
def world() -> World:
    world = World()
    joined(world, "root")
    joined(world, "writer", level=Level.TRUSTED)
    return world


def publication(node: Node, *, after: Sequence[SpanId] | None = None) -> Publication:
    opening = next(span.id for span in node.world.spans.values() if span.feed == node.feed and span.seq == 0)
    named = node.newest() if after is None else after
    return Publication(
        "a", bytes(32), SpanId(bytes(24)), 1, node.feed, node.size, 9, node.keys.public, (*named, opening)
    )


def fault(node: Node, said: Publication) -> str | None:
    return fault_of_span(said, node.world.result())


def test_roots_might_publish_and_nobody_else(world: World) -> None:
    founder, root, writer = world.founder, world.nodes["root"], world.nodes["writer"]
    assert fault(founder, publication(founder)) is None
    assert fault(root, publication(root)) is None
    assert fault(writer, publication(writer)) == NOT_ROOT
    stranger = world.node("stranger")
    assert fault(founder, publication(root)._replace(node_key=stranger.keys.public)) == NOT_ROOT


def test_what_was_published_while_one_was_root_stays_so(world: World) -> None:
    founder, root = world.founder, world.nodes["root"]
    before = publication(root)
    root.talk()
    founder.set_level("root", Level.TRUSTED, cuts=[(root.feed, root.size)])
    root.learn(founder)
    assert fault(root, before) is None
    assert fault(root, publication(root)) == "member.lowered"
    # Who names less than it knew is judged by its feed's opening as well, which had to know of the change.
    root.open()
    assert fault(root, publication(root, after=before.after)) == NOT_ROOT
    founder.learn(root).set_level("root", Level.ROOT, cuts=())
    root.learn(founder).open()
    assert fault(root, publication(root)) is None


def test_who_became_root_has_to_name_what_says_so(world: World) -> None:
    founder, writer = world.founder, world.nodes["writer"]
    founder.set_level("writer", Level.ROOT, cuts=())
    assert fault(writer, publication(writer)) == NOT_ROOT
    writer.learn(founder)
    assert fault(writer, publication(writer)) is None


def test_what_lies_beyond_a_cut_is_void_for_its_reason(world: World) -> None:
    founder, root = world.founder, world.nodes["root"]
    before, root.size = publication(root), root.size + 1
    founder.remove("root", cuts=[(root.feed, root.size)])
    assert fault(root, before) is None
    assert fault(root, publication(root, after=before.after)) == "member.removed"
