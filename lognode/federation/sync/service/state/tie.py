"""One tie: this node and one other in one tenant, whichever of the two dialled.

Owns what both directions share: how far the peer is known to hold the feeds, whether a session is open, what was
counted, what went wrong last, and what was refused at all. Does no input or output. Invariants: an error stays until
both held the same again; no code is lost because another came after it.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import trio

from lognode.core.clock import hlc_ms, is_ahead, time_text
from lognode.core.errors import LognodeError, PeerError
from lognode.core.ids import FeedId, LogLineKind, format_logline, logline
from lognode.core.limits import BATCH_ITEMS_MAX, PROGRESS_S
from lognode.core.span import Range
from lognode.core.world import World
from lognode.engine.service.meters import Meters
from lognode.federation.sync.findings import Finding, Findings
from lognode.federation.sync.known import Known
from lognode.federation.sync.pace import Pace
from lognode.federation.sync.service.notices import Notices
from lognode.federation.sync.service.waiting import Bell
from lognode.protocol.steps import Want
from lognode.timeline.record import TenantRef

Direction = Literal["out", "in"]
State = Literal["live", "syncing", "waiting", "unreachable", "refused", "failing"]
_STATES: Final[dict[str, State]] = {
    "peer.unaddressed": "waiting",
    "peer.unreachable": "unreachable",
    "peer.slow": "unreachable",
    "peer.refused": "refused",
}
# Nothing that it sent was refused: what concerns the way to a peer, or what was taken all the same.
_NOT_SENT: Final = frozenset(
    {"peer.unaddressed", "peer.unreachable", "peer.slow", "peer.busy", "peer.refused", "clock.ahead"}
)


class TieStatus(NamedTuple):
    """How a tie is doing. Times are Unix milliseconds; `lag_s` counts since both last held the same."""

    node_key: bytes
    state: State
    direction: Direction | None
    wants: tuple[Want, ...]
    lag_spans: int
    lag_s: float | None
    sent_spans: int
    received_spans: int
    rounds: int
    equal_ms: int | None
    contact_ms: int | None
    error: LognodeError | None
    retry_s: float | None
    findings: Sequence[Finding]


class Tie:
    """The state of one tie."""

    def __init__(self, node_key: bytes, tenant: TenantRef, world: World, notices: Notices, meters: Meters) -> None:
        self.node_key: Final = node_key
        self.tenant: Final = tenant
        self.known: Final = Known()
        self.pace: Final = Pace()  # for what is between the two in this tenant alone
        self.asked: Final = Bell()  # somebody wants both compared now; for the task that dials
        self.turned: Final = Bell()  # a session of the other direction began or ended; for the same
        self.called: Final = Bell()  # as `asked`, for a session that the peer began
        self.heard = set[FeedId]()  # own feeds that are forked, of which the peer gave what it holds behind that
        self.is_outbound = False
        self.inbound = 0  # sessions that the peer began
        self.is_syncing = False
        self.retry_at: float | None = None  # trio's clock
        self.error: LognodeError | None = None
        self.is_refused = False  # it said last that it knows no such member, however it is reached now
        self._ahead: PeerError | None = None  # the peer's newest spans are, which ends with newer ones alone
        self._findings = Findings()
        self._world = world
        self._notices = notices
        self._meters = meters.sync
        self._wants: tuple[Want, ...] = ()
        self._sent = self._received = self._rounds = 0
        self._equal_ms: int | None = None
        self._contact_ms: int | None = None
        self._told_s = float("-inf")

    @property
    def is_live(self) -> bool:
        """Whether a session is open, in either direction."""
        return self.is_outbound or self.inbound > 0

    @property
    def has_met(self) -> bool:
        """Whether the two were ever compared."""
        return self._rounds > 0

    def ask(self) -> None:
        """Have both compared now, whoever dials."""
        self.asked.ring()
        self.called.ring()

    def open(self, direction: Direction) -> None:
        """A session begins."""
        was_live = self.is_live
        self.is_refused = False
        self._count(direction, 1)
        self.touch()
        if not was_live:
            self._meters.links.inc()
            self._tell("peer.up")

    def close(self, direction: Direction) -> None:
        """A session ended."""
        self._count(direction, -1)
        if not self.is_live:
            self._meters.links.dec()
            self._tell("peer.down")

    def touch(self) -> None:
        """The peer was heard."""
        self._contact_ms = self._world.now_ms()

    def fail(self, error: LognodeError) -> None:
        """Something went wrong with the peer, or with what it holds."""
        self.error = error
        if error.code == "peer.refused":
            self.is_refused = True
        if error.code not in _NOT_SENT:
            self._findings.note(error.code, error.detail, self._world.now_ms())
        self._meters.failures.labels(error.code).inc()

    def finish_round(self, *, is_equal: bool, wants: Sequence[Want] = ()) -> None:
        """A comparison came to an end: both hold the same now, or these are wanted of the peer."""
        self._rounds += 1
        self._wants = tuple(wants)
        self.touch()
        if is_equal:
            self._equal_ms = self._world.now_ms()
            self.error = None
            self._findings.settle()
        self.progress(is_last=True)

    def count_received(self, ranges: Iterable[Range]) -> None:
        """Ranges came: the peer holds them, before they are stored here and others are told."""
        self.known.note_ranges(ranges)
        self.touch()

    def count_taken(self, ranges: Sequence[Range], outcomes: Sequence[int | PeerError]) -> None:
        """Ranges of the peer were stored, or refused."""
        for part, outcome in zip(ranges, outcomes, strict=True):
            if isinstance(outcome, PeerError):
                self.fail(outcome)
                others = [want for want in self._wants if want.feed != part.feed]
                if len(others) < BATCH_ITEMS_MAX:
                    self._wants = (*others, Want(part.feed, part.start, part.stop, outcome.code))
            else:
                self._received += len(part.entries)
                self._meters.received_spans.inc(len(part.entries))
                self._look_at_time(part)
        self.progress()

    def count_sent(self, ranges: Iterable[Range]) -> None:
        """Ranges go out; what gets lost on the way is found by the next comparison."""
        for part in ranges:
            self.known.note(part.feed, part.stop)
            self._sent += len(part.entries)
            self._meters.sent_spans.inc(len(part.entries))

    def progress(self, *, is_last: bool = False) -> None:
        """Tell who listens how far it is, not too often."""
        now_s = self._world.monotonic_s()
        if is_last or now_s - self._told_s >= PROGRESS_S:
            self._told_s = now_s
            self._tell("sync.progress")

    def status(self) -> TieStatus:
        """How it is doing now."""
        lag_s = None
        if self._equal_ms is not None:
            since_ms = max(0, self._world.now_ms() - self._equal_ms)
            lag_s = 0.0 if self.is_live and not self._wants else since_ms / 1000
        return TieStatus(
            node_key=self.node_key,
            state=self._state(),
            direction="out" if self.is_outbound else "in" if self.inbound else None,
            wants=self._wants,
            lag_spans=self._lag_spans(),
            lag_s=lag_s,
            sent_spans=self._sent,
            received_spans=self._received,
            rounds=self._rounds,
            equal_ms=self._equal_ms,
            contact_ms=self._contact_ms,
            error=self.error or self._ahead,
            retry_s=None if self.retry_at is None else max(0.0, self.retry_at - trio.current_time()),
            findings=self._findings.all(),
        )

    def _count(self, direction: Direction, change: int) -> None:
        if direction == "out":
            self.is_outbound = change > 0
        else:
            self.inbound += change
            self.turned.ring()

    def _look_at_time(self, part: Range) -> None:
        newest = max([entry.hlc for entry in part.entries], default=0)
        if is_ahead(newest, self._world.now_ms()):
            self._ahead = PeerError("clock.ahead", f"spans of {time_text(hlc_ms(newest))}")
        else:
            self._ahead = None

    def _lag_spans(self) -> int:
        return sum(want.stop - want.start for want in self._wants)

    def _state(self) -> State:
        if self.is_syncing:
            return "syncing"
        if self.is_live:
            return "live"
        return "waiting" if self.error is None else _STATES.get(self.error.code, "failing")

    def _tell(self, name: Literal["peer.up", "peer.down", "sync.progress"]) -> None:
        node = format_logline(logline(LogLineKind.NODE, self.node_key))
        if name == "sync.progress":
            self._notices.tell(
                self.tenant.number,
                name,
                node=node,
                state=self._state(),
                sent_spans=self._sent,
                received_spans=self._received,
                lag_spans=self._lag_spans(),
            )
        else:
            self._notices.tell(self.tenant.number, name, node=node)
