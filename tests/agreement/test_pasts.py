"""Laws of causal pasts, against histories that are known."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.ids import FeedId
from lognode.core.limits import CLAIMS_TRIED_MAX
from lognode.timeline.agreement.pasts import Claim, Place, past_of, relation


def feed_id(number: int) -> FeedId:
    return FeedId(bytes([number]) * 16)


def root_of(feed: FeedId, size: int, branch: str = "") -> bytes:
    return sha256(feed + size.to_bytes(8, "big") + branch.encode()).digest()


class History:
    """Feeds as they were written, and what is held of them. An entry is what it says of others."""

    def __init__(self) -> None:
        self.feeds: dict[FeedId, list[list[Claim]]] = {}
        self.held: dict[FeedId, int] = {}

    def write(self, feed: FeedId, *claims: Claim) -> Place:
        entries = self.feeds.setdefault(feed, [])
        entries.append(list(claims))
        self.held[feed] = len(entries)
        return Place(feed, len(entries) - 1)

    def others(self, feed: FeedId) -> Iterable[FeedId]:
        return {claim.other for claims in self.feeds.get(feed, []) for claim in claims}

    def claims(self, feed: FeedId, size: int, other: FeedId) -> Iterable[Claim]:
        said = [claim for claims in self.feeds[feed][:size] for claim in claims if claim.other == other]
        return reversed(said)

    def counted(self, feed: FeedId) -> int:
        return self.held.get(feed, 0)

    def root(self, feed: FeedId, size: int) -> bytes:
        assert size <= self.held[feed]
        return root_of(feed, size)


class Step(NamedTuple):
    """Somebody writes a span, or takes in what another has and says so in a merge."""

    who: int
    whose: int | None


NODES = 4
steps = st.lists(
    st.builds(Step, st.integers(0, NODES - 1), st.none() | st.integers(0, NODES - 1)), min_size=1, max_size=40
)


class Truth:
    """What really happened: for each span the set of all spans that its author knew."""

    def __init__(self, script: Iterable[Step]) -> None:
        self.history = History()
        self.pasts: dict[Place, frozenset[Place]] = {}
        self._known: list[frozenset[Place]] = [frozenset()] * NODES
        self._merged: list[dict[FeedId, int]] = [{} for _ in range(NODES)]
        for who, whose in script:
            claims = []
            if whose is not None and whose != who:
                theirs = self._sizes(whose)
                news = {feed: size for feed, size in theirs.items() if size > self._merged[who].get(feed, 0)}
                news.pop(feed_id(who), None)
                claims = [Claim(feed, size, root_of(feed, size)) for feed, size in sorted(news.items())]
                self._merged[who] |= news
                self._known[who] |= self._known[whose]
            place = self.history.write(feed_id(who), *claims)
            self._known[who] |= {place}
            self.pasts[place] = self._known[who]

    def _sizes(self, who: int) -> dict[FeedId, int]:
        sizes: dict[FeedId, int] = {}
        for feed, seq in self._known[who]:
            sizes[feed] = max(sizes.get(feed, 0), seq + 1)
        return sizes


def sizes_of(places: Iterable[Place]) -> Mapping[FeedId, int]:
    sizes: dict[FeedId, int] = {}
    for feed, seq in places:
        sizes[feed] = max(sizes.get(feed, 0), seq + 1)
    return sizes


@given(steps)
def test_a_past_holds_what_its_author_knew_and_no_more(script: list[Step]) -> None:
    truth = Truth(script)
    for place, known in truth.pasts.items():
        assert past_of([place], truth.history) == sizes_of(known)


@given(steps)
def test_one_span_is_before_another_if_its_author_knew_it(script: list[Step]) -> None:
    truth = Truth(script)
    pasts = {place: past_of([place], truth.history) for place in truth.pasts}
    for one, one_known in truth.pasts.items():
        for other, other_known in truth.pasts.items():
            expected = "before" if one in other_known else "after" if other in one_known else "concurrent"
            assert relation(one, other, pasts[one], pasts[other]) == ("equal" if one == other else expected)


@given(steps, st.lists(st.integers(0, NODES - 1), max_size=30))
def test_what_is_not_held_yet_never_turns_round_what_was_said(script: list[Step], lost: list[int]) -> None:
    truth = Truth(script)
    for feed in map(feed_id, lost):
        truth.history.held[feed] = max(0, truth.history.held.get(feed, 0) - 1)
    held = [place for place in truth.pasts if place.seq < truth.history.held.get(place.feed, 0)]
    for one in held:
        past = past_of([one], truth.history)
        assert all(size <= sizes_of(truth.pasts[one]).get(feed, 0) for feed, size in past.items())
        assert all(truth.history.held[feed] >= size for feed, size in past.items())


def test_a_claim_with_another_root_counts_for_nothing_and_the_one_before_it_does() -> None:
    history = History()
    for _ in range(5):
        history.write(feed_id(1))
    history.write(feed_id(2), Claim(feed_id(1), 2, root_of(feed_id(1), 2)))
    place = history.write(feed_id(2), Claim(feed_id(1), 4, root_of(feed_id(1), 4, "another")))
    assert past_of([place], history) == {feed_id(1): 2, feed_id(2): 2}


def test_a_claim_about_the_other_branch_of_a_fork_counts_up_to_where_both_are_one() -> None:
    history = History()
    for _ in range(5):
        history.write(feed_id(1))
    history.held[feed_id(1)] = 3  # from there on its author signed two histories
    place = history.write(feed_id(2), Claim(feed_id(1), 4, root_of(feed_id(1), 4, "another")))
    assert past_of([place], history) == {feed_id(1): 3, feed_id(2): 1}


class Watched(History):
    """A history that counts the roots that are asked for."""

    looks = 0

    def root(self, feed: FeedId, size: int) -> bytes:
        self.looks += 1
        return super().root(feed, size)


def test_of_a_feed_with_nothing_but_false_claims_few_are_looked_at() -> None:
    history = Watched()
    for _ in range(50):
        history.write(feed_id(1))
    for size in range(1, 50):
        history.write(feed_id(2), Claim(feed_id(1), size, root_of(feed_id(1), size, "another")))
    assert past_of([Place(feed_id(2), 48)], history) == {feed_id(2): 49}
    assert history.looks == CLAIMS_TRIED_MAX


def test_merges_that_name_each_other_end() -> None:
    history = History()
    one, other = feed_id(1), feed_id(2)
    history.write(one, Claim(other, 1, root_of(other, 1)))
    place = history.write(other, Claim(one, 1, root_of(one, 1)))
    assert past_of([place], history) == {one: 1, other: 1}


def test_a_feed_that_claims_to_know_its_own_future_knows_no_more_of_itself() -> None:
    history = History()
    liar = feed_id(1)
    place = history.write(liar, Claim(liar, 2**40, bytes(32)))
    history.write(liar)
    assert past_of([place], history) == {liar: 1}


class InOrder(History):
    """Gives feeds in an order of its own."""

    order: tuple[int, ...] = ()

    def others(self, feed: FeedId) -> Iterable[FeedId]:
        return sorted(super().others(feed), key=lambda other: self.order.index(other[0]))


@pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3)])
def test_which_feed_is_looked_at_first_makes_no_difference(order: tuple[int, ...]) -> None:
    """A liar's newest claim is false and small; whether something else tells as much already must not matter."""
    history, liar, honest, told = InOrder(), feed_id(1), feed_id(2), feed_id(3)
    history.order = order
    for _ in range(10):
        history.write(told)
    history.write(honest, Claim(told, 5, root_of(told, 5)))
    history.write(liar, Claim(told, 9, root_of(told, 9)))
    history.write(liar, Claim(told, 4, bytes(32)))
    both = [Claim(feed, history.counted(feed), root_of(feed, history.counted(feed))) for feed in (liar, honest)]
    place = history.write(feed_id(4), *both)
    assert past_of([place], history) == {feed_id(4): 1, liar: 2, honest: 1, told: 9}


def test_of_two_spans_of_one_feed_the_first_is_before_whatever_their_feed_claims() -> None:
    one = Place(feed_id(1), 0)
    later, future = Place(one.feed, 1), {one.feed: 9}
    assert relation(one, later, future, future) == "before"
    assert relation(later, one, future, future) == "after"
