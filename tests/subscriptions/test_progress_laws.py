"""Laws of subscriptions: whatever happens, each span that matches is in the end acknowledged or parked.

Nothing that was acknowledged comes again but by a replay.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_BACKOFF_MS_MAX,
    SUBSCRIPTION_RETRY_MS_MAX,
)
from lognode.engine.subscriptions.progress import Changes, Handed, Outcome, Progress, backoff_ms
from lognode.engine.subscriptions.store import (
    ask_again,
    count_parked,
    insert_subscription,
    list_parked,
    load_subscription,
    next_again,
    save_changes,
    save_reset,
)
from lognode.engine.subscriptions.subscription import (
    Beyond,
    Delivery,
    Terms,
    Tried,
    decode_beyond,
    encode_beyond,
    new_subscription,
    parse_delivery,
)
from lognode.timeline.store.opening.migrate import apply_migrations

TENANT = 0
NAME = "orders"
TERMS = Terms(ack_wait_ms=30_000, max_in_flight=4, max_attempts=3)
STEPS = 100
# What happens, and how often.
WEIGHTS = {
    "arrive": 10, "connect": 20, "acknowledge": 15, "acknowledge_through": 2, "retry": 6, "park": 2, "break_off": 4,
    "pass_time": 8, "save": 12, "load": 4, "replay": 3, "reset": 1,
}  # fmt: skip


class Consuming:
    """One subscription with its rows in a database, and what consumers saw of it, as chance has it."""

    def __init__(self, kind: type[Progress], rng: Random) -> None:
        self.kind = kind
        self.rng = rng
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        apply_migrations(self.conn)
        self.now_ms = 1_000_000
        held = new_subscription(TENANT, NAME, {}, webhook=None, terms=TERMS, checkpoint=0, now_ms=self.now_ms)
        insert_subscription(self.conn, held)
        self.newest = 0
        self.begin = 0  # behind it all that matches is wanted
        self.matching: list[int] = []
        self.handed: list[Handed] = []
        self.acked: set[int] = set()
        self.durable: set[int] = set()
        self.load()

    def run(self) -> None:
        """Everything, and then somebody who acknowledges all."""
        with closing(self.conn):
            for event in self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
                getattr(self, event)()
                self.check()
            self.finish()

    def load(self) -> None:
        """What a start does."""
        self.held, parked = load_subscription(self.conn, TENANT, NAME)
        self.progress = self.kind(self.held, parked)
        self.acked = set(self.durable)

    def save(self) -> None:
        self.held = save_changes(self.conn, self.held, self.progress.take_changes())
        self.progress.saved()
        self.durable = set(self.acked)

    def parked(self) -> set[int]:
        return {row.parked.position for row in list_parked(self.conn, TENANT, NAME, 0, 10_000)}

    def arrive(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            self.newest += 1
            self.matching += [self.newest] if self.rng.random() < 0.7 else []

    def connect(self) -> None:
        self.hand_out(self.rng.randint(1, 3), self.rng.randint(1, 4))

    def hand_out(self, holder: int, count: int) -> list[Handed]:
        self.progress.saw_again(next_again(self.conn, TENANT, NAME, self.progress.replaying, self.progress.room()))
        room = self.progress.room()
        if room:
            new = [position for position in self.matching if position > self.progress.looked]
            looked = new[room - 1] if len(new) > room else self.newest
            self.progress.saw(new[:room], looked)
        handed = self.progress.hand_out(holder, self.now_ms, count)
        for one in handed:
            position = one.delivery.position
            assert position in self.matching
            assert one.is_replay or position not in self.acked, "what was acknowledged came again"
            assert 1 <= one.attempt <= TERMS.max_attempts
        self.handed += handed
        return handed

    def some(self) -> list[Delivery]:
        """Deliveries that somebody may name: mostly of late ones, and each perhaps more than once."""
        late = self.handed[-8:] if self.rng.random() < 0.8 else self.handed
        return [one.delivery for one in self.rng.choices(late, k=self.rng.randint(1, 3))] if late else []

    def acknowledge(self) -> None:
        deliveries = self.some()
        outcome = self.progress.acknowledge(deliveries)
        self.acked |= {delivery.position for delivery in deliveries if delivery not in outcome.stale}

    def acknowledge_through(self) -> None:
        for delivery in self.some()[:1]:
            seen = {one.delivery.position for one in self.handed if one.delivery.run == delivery.run}
            if not self.progress.acknowledge_through(delivery).stale:
                self.acked |= {position for position in seen if self.begin < position <= delivery.position}

    def retry(self) -> None:
        self.progress.retry(self.some(), self.now_ms, self.rng.choice([None, 0, 60_000]), "no room")

    def park(self) -> None:
        self.progress.park(self.some(), self.now_ms, "it is broken")

    def break_off(self) -> None:
        self.progress.release(self.rng.randint(1, 3), self.now_ms, is_failure=self.rng.random() < 0.7)

    def pass_time(self) -> None:
        self.now_ms += self.rng.choice([1, 1000, 31_000, -3_600_000])

    def replay(self) -> None:
        self.save()
        parked = sorted(self.parked())
        chosen = parked if self.rng.random() < 0.5 else self.rng.sample(parked, len(parked) // 2)
        ask_again(self.conn, self.held, chosen)
        self.acked -= set(chosen)
        self.durable -= set(chosen)

    def reset(self) -> None:
        self.begin = self.rng.randint(0, self.newest)
        changes = self.progress.take_changes()
        self.held, parked = save_reset(self.conn, self.held, self.held.run + 1, self.begin, changes)
        self.progress.reset(self.begin, self.held.run, parked)
        self.acked = {position for position in self.acked if position <= self.begin}
        self.durable = set(self.acked)

    def check(self) -> None:
        """What is so at any time."""
        assert self.progress.under_way + self.progress.waiting <= TERMS.max_in_flight
        assert all(position in self.acked | self.parked() | self.unsaved() for position in self.passed_over())

    def passed_over(self) -> list[int]:
        return [position for position in self.matching if self.begin < position <= self.progress.checkpoint]

    def unsaved(self) -> set[int]:
        """What the progress parked, and no row says yet."""
        return set(self.progress._new_parked)

    def finish(self) -> None:
        """Somebody acknowledges whatever comes, until nothing does."""
        for _ in range(1000):
            self.now_ms += SUBSCRIPTION_RETRY_MS_MAX + 1
            handed = self.hand_out(9, 100)
            if not handed and self.progress.looked == self.newest:
                break
            outcome = self.progress.acknowledge([one.delivery for one in handed])
            assert not outcome.stale
            self.acked |= {one.delivery.position for one in handed}
            self.save()
        self.save()
        assert self.progress.checkpoint == self.newest
        wanted = {position for position in self.matching if position > self.begin}
        assert wanted <= self.acked | self.parked()
        assert self.progress.parked == count_parked(self.conn, TENANT, NAME)
        assert next_again(self.conn, TENANT, NAME, (), 100) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_each_span_is_acknowledged_or_parked_and_nothing_acknowledged_comes_again(seed: int) -> None:
    Consuming(Progress, Random(seed)).run()


class Hasty(Progress):
    """Its checkpoint moves with what it hands out, before anything is acknowledged."""

    @property
    def checkpoint(self) -> int:
        return self.looked


class Forgetful(Progress):
    """It does not keep what is acknowledged beyond the first open span."""

    def take_changes(self) -> Changes:
        self._settled.clear()
        return super().take_changes()


class Deaf(Progress):
    """It hands out again what is acknowledged while somebody else holds it."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Outcome:
        outcome = super().acknowledge([])
        return Outcome(len(deliveries), outcome.stale)


@pytest.mark.parametrize("kind", [Hasty, Forgetful, Deaf])
def test_a_subscription_that_is_wrong_breaks_the_law(kind: type[Progress]) -> None:
    with pytest.raises(AssertionError):
        play(kind, range(100))


def play(kind: type[Progress], seeds: Iterable[int]) -> None:
    for seed in seeds:
        Consuming(kind, Random(seed)).run()


@given(
    st.integers(0, 2**40),
    st.sets(st.integers(1, 10_000), max_size=50),
    st.sets(st.integers(1, 10_000), max_size=20),
)
def test_what_lies_beyond_a_checkpoint_is_read_as_it_was_written(base: int, settled: set[int], tried: set[int]) -> None:
    beyond = Beyond(
        sorted(base + step for step in settled), [Tried(base + step, step % 9, step * 7) for step in sorted(tried)]
    )
    assert decode_beyond(base, encode_beyond(base, beyond)) == beyond


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x82\x80\x81\x01", b"\x82\x81\x61a\x80", b"\x82\x01\x80"])
def test_bytes_that_no_row_has_are_damage(raw: bytes) -> None:
    with pytest.raises(NodeFault) as found:
        decode_beyond(0, raw)
    assert found.value.code == "database.damaged"


@given(st.integers(1, 2**40), st.integers(0, 2**48 - 1), st.integers(0, 2**16 - 1))
def test_a_delivery_is_named_by_its_text_and_no_other_text_names_one(position: int, run: int, number: int) -> None:
    delivery = Delivery(position, run, number)
    assert parse_delivery(delivery.text) == delivery
    for wrong in (delivery.text[:-1], delivery.text + "0", "", "../.."):
        with pytest.raises(CallerError) as refused:
            parse_delivery(wrong)
        assert refused.value.code == "delivery.malformed"


def test_attempts_wait_longer_and_longer_up_to_a_bound() -> None:
    waits = [backoff_ms(attempts) for attempts in range(40)]
    assert waits == sorted(waits)
    assert waits[1:4] == [1000, 2000, 4000]
    assert waits[-1] == SUBSCRIPTION_BACKOFF_MS_MAX
