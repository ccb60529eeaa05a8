"""How far a subscription is: what was handed to whom, what is settled, what is due again.

Owns the state of each span beyond the checkpoint. Knows neither rows nor sockets. Invariants: a span that was looked at
and matches is open until it is acknowledged or parked; the checkpoint stands below the first open one; what is settled
is handed out again by a replay alone; no more spans are under way than the terms say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_BACKOFF_MS_MAX,
    SUBSCRIPTION_BACKOFF_MS_MIN,
    SUBSCRIPTION_KEPT_SPANS,
    SUBSCRIPTION_PARKED_MAX,
    SUBSCRIPTION_REASON_CHARS_MAX,
    SUBSCRIPTION_RETRY_MS_MAX,
    SUBSCRIPTION_WINDOW_SPANS,
)
from lognode.engine.subscriptions.subscription import (
    Beyond,
    Delivery,
    Subscription,
    Terms,
    Tried,
    decode_beyond,
    is_same_number,
)

NO_ANSWER: Final = "no acknowledgement in time"
BROKEN: Final = "its connection ended"
_DOUBLINGS_MAX: Final = 32


@dataclass(slots=True)
class Entry:
    """A span that is open. `attempts` counts those that failed or are under way, `number` how often it was handed out.

    After a restart, attempts that failed before are all that is known to have been handed out.
    With a holder it is under way until `ready_ms`, a Unix time; without one it is due from then on. No clock that is
    set back has it wait for longer than `wait_ms` from then.
    """

    position: int
    is_replay: bool
    attempts: int = 0
    number: int = 0
    ready_ms: int = 0
    wait_ms: int = SUBSCRIPTION_RETRY_MS_MAX
    holder: int | None = None

    @property
    def is_begun(self) -> bool:
        """Whether it was handed out, or failed before a restart."""
        return self.number > 0


class Handed(NamedTuple):
    """A span that is handed to a consumer."""

    delivery: Delivery
    attempt: int
    is_replay: bool


class Parked(NamedTuple):
    """A span that is tried no more until somebody asks for it."""

    position: int
    attempts: int
    reason: str
    parked_ms: int


class Outcome(NamedTuple):
    """What became of deliveries that somebody named: how many it was true of, and those that are no more."""

    done: int
    stale: list[Delivery]


class Changes(NamedTuple):
    """What rows have to say now. Replayed spans that are `done` are parked no more."""

    run: int
    checkpoint: int
    beyond: Beyond
    parked: list[Parked]
    done: list[int]


class Progress:
    """The state of one subscription. `looked` is the position up to which all spans were looked at."""

    def __init__(self, held: Subscription, parked: int) -> None:
        """As a row has it; `parked` is how many spans are parked."""
        beyond = decode_beyond(held.checkpoint, held.beyond)
        self.terms: Terms = held.terms
        self.run = held.run
        self.looked = self._kept = held.checkpoint
        self.parked = parked
        self._open: dict[int, Entry] = {}  # in the order of their positions
        self._again: dict[int, Entry] = {}  # replayed, by position
        self._settled = set(beyond.settled)
        self._tried = {tried.position: tried for tried in beyond.tried}  # of spans not looked at yet
        self._new_parked: dict[int, Parked] = {}
        self._done: set[int] = set()
        self._pruned = held.checkpoint  # settled spans up to here are forgotten
        # Nothing that somebody holds is late before `_late_ms`, unless the clock was set back since `_looked_ms`.
        self._looked_ms = self._late_ms = 0
        self._taken: list[int] = []  # positions of changes that rows are about to say
        self._is_changed = False

    @property
    def checkpoint(self) -> int:
        """The greatest position up to which everything is acknowledged, parked, or does not match."""
        return next(iter(self._open)) - 1 if self._open else self.looked

    @property
    def under_way(self) -> int:
        """Spans that consumers hold now."""
        return sum([entry.holder is not None for entry in self._entries()])

    @property
    def waiting(self) -> int:
        """Spans that wait to be tried again."""
        return sum([entry.holder is None and entry.is_begun for entry in self._entries()])

    @property
    def is_full(self) -> bool:
        """Whether so many are parked that nothing more is handed out."""
        return self.parked >= SUBSCRIPTION_PARKED_MAX

    @property
    def is_changed(self) -> bool:
        """Whether rows say something else by now."""
        return self._is_changed or self.checkpoint - self._kept >= SUBSCRIPTION_KEPT_SPANS

    @property
    def replaying(self) -> list[int]:
        """Positions of parked spans that were taken up to be tried again, or were, and rows do not say so yet."""
        return [*self._again, *self._done, *self._new_parked, *self._taken]

    def held_by(self, holder: int) -> int:
        """Spans that one consumer holds now."""
        return sum([entry.holder == holder for entry in self._entries()])

    def room(self) -> int:
        """How many more spans may be looked for now; those that wait to be handed out come first."""
        free = self.terms.max_in_flight - len(self._open) - len(self._again)
        if free <= 0:
            return 0
        return max(0, min(free, SUBSCRIPTION_WINDOW_SPANS - len(self._open) - len(self._settled_beyond())))

    def saw(self, positions: Iterable[int], looked: int) -> None:
        """Take note of the spans that match, in their order, among those up to `looked`."""
        for position in positions:
            assert self.looked < position <= looked
            if position in self._settled:
                continue
            tried = self._tried.pop(position, Tried(position, 0, 0))
            self._open[position] = Entry(
                position, is_replay=False, attempts=tried.attempts, number=tried.attempts, ready_ms=tried.ready_ms
            )
        assert looked >= self.looked
        self.looked = looked

    def saw_again(self, positions: Iterable[int]) -> None:
        """Take note of parked spans that are to be tried again."""
        for position in positions:
            self._again.setdefault(position, Entry(position, is_replay=True))

    def hand_out(self, holder: int, now_ms: int, count: int) -> list[Handed]:
        """Up to `count` spans that are due, which are the holder's from now on: replayed ones, then by position.

        Where too many are parked, these are replayed ones alone, by which they become fewer.
        """
        self.expire(now_ms)
        room = self.terms.max_in_flight - sum([entry.number > 0 for entry in self._entries()])
        handed: list[Handed] = []
        for entry in list(self._again.values()) if self.is_full else self._entries():
            if len(handed) >= count:
                break
            if entry.holder is not None or not self._is_ready(entry, now_ms):
                continue
            if not entry.is_begun:
                if room <= 0:
                    continue
                room -= 1
            entry.attempts += 1
            entry.number += 1
            wait_ms = self.terms.ack_wait_ms
            entry.holder, entry.ready_ms, entry.wait_ms = holder, now_ms + wait_ms, wait_ms
            self._late_ms = min(self._late_ms, entry.ready_ms)
            delivery = Delivery(entry.position, self.run, entry.number)
            handed.append(Handed(delivery, entry.attempts, entry.is_replay))
        return handed

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Settle spans, also those that are due again since, and whoever holds them by now."""
        done, stale = 0, []
        for delivery in deliveries:
            if not self._was_handed_out(delivery):
                stale.append(delivery)
                continue
            done += 1
            entry = self._find(delivery.position)
            if entry is not None and entry.is_begun:
                self._settle(entry)
        return Outcome(done, stale)

    def acknowledge_through(self, delivery: Delivery) -> Outcome:
        """Settle a span, and all before it but replays: each was handed out before, in this life or another."""
        if not self._was_handed_out(delivery):
            return Outcome(0, [delivery])
        up_to = [entry for entry in self._open.values() if entry.position <= delivery.position]
        for entry in up_to:
            self._settle(entry)
        return Outcome(len(up_to), [])

    def retry(
        self, deliveries: Sequence[Delivery], now_ms: int, after_ms: int | None = None, reason: str = ""
    ) -> Outcome:
        """Have spans handed out again, after a while; those whose attempts are used up are parked.

        Raises CallerError("subscription.invalid") for a time that is none.
        """
        if after_ms is not None and not 0 <= after_ms <= SUBSCRIPTION_RETRY_MS_MAX:
            detail = f"{after_ms} is not in 0 to {SUBSCRIPTION_RETRY_MS_MAX}"
            raise CallerError("subscription.invalid", detail, place="after_ms")
        held, stale = self._held(deliveries)
        for entry in held:
            self._fail(entry, now_ms, backoff_ms(entry.attempts) if after_ms is None else after_ms, reason)
        return Outcome(len(held), stale)

    def park(self, deliveries: Sequence[Delivery], now_ms: int, reason: str = "") -> Outcome:
        """Have spans tried no more until somebody asks for them."""
        held, stale = self._held(deliveries)
        for entry in held:
            self._park(entry, now_ms, reason)
        return Outcome(len(held), stale)

    def skip(self, positions: Iterable[int]) -> None:
        """Settle spans that there is nothing to hand out of any more, since they are void by now."""
        for position in positions:
            entry = self._find(position)
            if entry is not None:
                self._settle(entry)

    def release(self, holder: int, now_ms: int, *, is_failure: bool = True) -> None:
        """Have what a consumer held be due again at once.

        The attempt counts for the first of them alone, at which it broke; it had hardly looked at the others.
        """
        held = [entry for entry in self._entries() if entry.holder == holder]
        for at, entry in enumerate(held):
            if at == 0 and is_failure:
                self._fail(entry, now_ms, 0, BROKEN)
            else:
                _give_back(entry)

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Have spans that were just handed out be due again at once, since they are not on their way yet."""
        for entry in self._held(list(deliveries))[0]:
            _give_back(entry)

    def expire(self, now_ms: int) -> None:
        """Take what was not acknowledged in time from who held it."""
        is_set_back, self._looked_ms = now_ms < self._looked_ms, now_ms
        if now_ms < self._late_ms and not is_set_back:
            return
        held = [entry for entry in self._entries() if entry.holder is not None]
        for entry in held:
            if self._is_ready(entry, now_ms):
                self._fail(entry, now_ms, 0, NO_ANSWER)
        self._late_ms = min([entry.ready_ms for entry in held], default=now_ms + self.terms.ack_wait_ms)

    def reset(self, checkpoint: int, run: int, parked: int) -> None:
        """Begin behind a position, whatever was acknowledged; what was handed out before counts no more.

        `parked` is how many stay parked: those up to that position.
        """
        assert run > self.run
        assert not self._new_parked, "rows say all that became of spans before"
        self.run, self.parked = run, parked
        self.saved()
        self.looked = self._kept = self._pruned = checkpoint
        for kept in (self._open, self._again, self._tried):
            kept.clear()
        self._settled.clear()
        self._done.clear()
        self._is_changed = True

    def next_ms(self, now_ms: int) -> int | None:
        """When something else comes due, or has not been acknowledged in time; None where nothing does."""
        times = [entry.ready_ms for entry in self._entries() if entry.number and entry.ready_ms > now_ms]
        return min(times, default=None)

    def take_changes(self) -> Changes:
        """What rows have to say; once they do, tell by `saved`. If they cannot, this is thrown away."""
        checkpoint = self.checkpoint
        settled = sorted(self._settled_beyond())
        tried = [
            Tried(entry.position, attempts, 0 if entry.holder is not None else entry.ready_ms)
            for entry in self._open.values()
            if (attempts := entry.attempts - (entry.holder is not None)) > 0
        ]
        beyond = Beyond(settled, [*tried, *self._tried.values()])
        changes = Changes(self.run, checkpoint, beyond, list(self._new_parked.values()), sorted(self._done))
        self._taken = [*self._new_parked, *self._done]
        self._new_parked, self._done, self._is_changed, self._kept = {}, set(), False, checkpoint
        return changes

    def saved(self) -> None:
        """Note that rows say what was taken."""
        self._taken = []

    def _settled_beyond(self) -> set[int]:
        """What is settled beyond the checkpoint."""
        if self._pruned != (checkpoint := self.checkpoint):
            self._settled = {position for position in self._settled if position > checkpoint}
            self._pruned = checkpoint
        return self._settled

    def _entries(self) -> list[Entry]:
        """All that is open, replayed spans first."""
        return [*self._again.values(), *self._open.values()] if self._again else list(self._open.values())

    def _is_ready(self, entry: Entry, now_ms: int) -> bool:
        """Whether it is time. A clock that was set back has it wait anew, and no longer than was meant."""
        entry.ready_ms = min(entry.ready_ms, now_ms + entry.wait_ms)
        return entry.ready_ms <= now_ms

    def _find(self, position: int) -> Entry | None:
        return self._again.get(position) or self._open.get(position)

    def _was_handed_out(self, delivery: Delivery) -> bool:
        """Whether a consumer may know of a delivery, of this run."""
        entry = self._find(delivery.position)
        is_known = entry.is_begun if entry is not None else delivery.position <= self.looked
        return delivery.run == self.run and is_known

    def _held(self, deliveries: Sequence[Delivery]) -> tuple[list[Entry], list[Delivery]]:
        """What of deliveries is still under way, and the others."""
        held, stale = {}, []
        for delivery in deliveries:
            entry = self._find(delivery.position)
            is_current = entry is not None and is_same_number(entry.number, delivery.number)
            if entry is None or entry.holder is None or delivery.run != self.run or not is_current:
                stale.append(delivery)
            else:
                held[entry.position] = entry
        return list(held.values()), stale

    def _fail(self, entry: Entry, now_ms: int, after_ms: int, reason: str) -> None:
        if entry.attempts >= self.terms.max_attempts:
            self._park(entry, now_ms, reason)
            return
        entry.holder, entry.ready_ms, entry.wait_ms = None, now_ms + after_ms, after_ms
        self._is_changed = True

    def _settle(self, entry: Entry) -> None:
        self._is_changed = True
        if entry.is_replay:
            del self._again[entry.position]
            self._done.add(entry.position)
            self.parked -= 1
            return
        del self._open[entry.position]
        self._settled.add(entry.position)

    def _park(self, entry: Entry, now_ms: int, reason: str) -> None:
        self._settle(entry)
        self._done.discard(entry.position)
        self.parked += 1
        reason = reason[:SUBSCRIPTION_REASON_CHARS_MAX]
        self._new_parked[entry.position] = Parked(entry.position, entry.attempts, reason, now_ms)


def _give_back(entry: Entry) -> None:
    """Have a span be due again, as if this attempt had not been."""
    entry.attempts -= 1
    entry.holder, entry.ready_ms = None, 0


def backoff_ms(attempts: int) -> int:
    """Milliseconds to wait after so many attempts that failed."""
    doublings = min(max(attempts, 1) - 1, _DOUBLINGS_MAX)
    return min(SUBSCRIPTION_BACKOFF_MS_MAX, SUBSCRIPTION_BACKOFF_MS_MIN << doublings)
