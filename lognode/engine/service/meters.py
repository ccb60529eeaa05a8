"""What a node counts of itself, for whoever watches over it.

Owns every metric's name, labels and help; docs/operating.md lists them. Knows neither HTTP nor the database.
Invariants: no label holds what a caller chose, and none tells tenants apart; on the way in, something is
counted once a commit or once a request, never once a span.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from lognode.core.errors import ERRORS, LognodeError
from lognode.core.limits import GROUP_SPANS_MAX
from lognode.rules.evaluation.decision import Verdict
from lognode.timeline.state import WritePlan

# From a disk with a battery behind its cache to one that is about to fail.
COMMIT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COMMIT_SPANS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, GROUP_SPANS_MAX)
REQUEST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10)


class Meters:
    """The metrics of one node, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry: Final = registry
        # A second series for each, with the time of its making, which is that of the node's start.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)

        self.build: Final = Info(
            "lognode_build", "What runs: the versions of lognode, Python and SQLite.", (), registry=registry
        )

        self.appended_spans: Final = counter("lognode_appended_spans_total", "Spans stored, control spans among them.")
        self.appended_bytes: Final = counter("lognode_appended_bytes_total", "Bytes of the bodies of stored spans.")
        self.duplicate_spans: Final = counter(
            "lognode_duplicate_spans_total",
            "Spans that came again under their idempotency key, and were not stored again.",
        )
        self.judged_drafts: Final = counter(
            "lognode_judged_drafts_total", "Drafts that gate rules looked at, by verdict.", ("verdict",)
        )
        for verdict in get_args(Verdict):
            self.judged_drafts.labels(verdict)
        self.commit_spans: Final = histogram("lognode_commit_spans", "Spans of one commit.", buckets=COMMIT_SPANS)
        self.commit_duration: Final = histogram(
            "lognode_commit_duration_seconds", "Seconds from a commit's plan until it was durable.", buckets=COMMIT_S
        )
        self.commit_errors: Final = counter(
            "lognode_commit_errors_total", "Commits for which the database reported an error."
        )
        self.last_commit: Final = gauge(
            "lognode_last_commit_timestamp_seconds",
            "Unix time of the newest commit; 0 when there was none since the start.",
        )
        self.mailbox_spans: Final = gauge("lognode_mailbox_spans", "Spans that wait for the writer.")
        self.mailbox_bytes: Final = gauge("lognode_mailbox_bytes", "Bytes of the spans that wait for the writer.")
        self.index_lag: Final = gauge(
            "lognode_index_lag_spans",
            "Spans that the full-text index has yet to take in, of all tenants that have one.",
        )

        self.reads_waiting: Final = gauge("lognode_reads_waiting", "Reads that wait for a connection to the database.")
        self.database_size: Final = gauge("lognode_database_bytes", "Size of the database's file.")
        self.wal_size: Final = gauge("lognode_wal_bytes", "Size of the database's write-ahead log.")
        self.disk_free: Final = gauge("lognode_disk_free_bytes", "Bytes that the node may still write to its disk.")
        self.subsystems: Final = gauge(
            "lognode_subsystems", "Subsystems of each sort that are running, waiting or off.", ("subsystem", "state")
        )
        self.subsystem_failures: Final = counter(
            "lognode_subsystem_failures_total",
            "Failures of subsystems, after which each is started again.",
            ("subsystem",),
        )
        self.api: Final = ApiMeters(registry)
        self.peers: Final = PeerMeters(registry)
        self.sync: Final = SyncMeters(registry)
        self.tasks: Final = TaskMeters(registry)

    def count_judged(self, verdicts: Mapping[str, int]) -> None:
        """Count drafts by what gate rules made of them."""
        for verdict, count in verdicts.items():
            self.judged_drafts.labels(verdict).inc(count)

    def count_commit(self, write: WritePlan, duration_s: float, now_ms: int) -> None:
        """A transaction that is durable."""
        bodies = write.bodies
        self.appended_spans.inc(len(bodies))
        self.appended_bytes.inc(sum(map(len, bodies)))
        self.commit_spans.observe(len(bodies))
        self.commit_duration.observe(duration_s)
        self.last_commit.set(now_ms / 1000)


class ApiMeters:
    """Those of the API."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.requests: Final = Histogram(
            "lognode_http_request_duration_seconds",
            "Seconds from a request's head until its answer began.",
            ("route", "method", "status"),
            buckets=REQUEST_S,
            registry=registry,
        )
        self.errors: Final = counter(
            "lognode_errors_total", "Errors that were answered, by code and by who is to blame.", ("code", "blame")
        )
        self.connections: Final = gauge("lognode_connections", "Connections that are open.")
        self.connections_refused: Final = counter(
            "lognode_connections_refused_total", "Connections closed at once, because too many were open."
        )
        self.websockets: Final = gauge("lognode_websockets", "WebSockets that are open.")
        self.tails: Final = gauge("lognode_tails", "Live tails that are open, over server-sent events or a WebSocket.")
        for spec in ERRORS.values():
            if spec.kind == "node":  # there from the start, so that an alert sees the first one as a rise
                self.errors.labels(spec.code, spec.kind)

    def count_error(self, error: LognodeError) -> None:
        """An error that its caller is told."""
        self.errors.labels(error.code, error.spec.kind).inc()


class PeerMeters:
    """Those of connections between nodes; who is at the other end is no label, as tenants are none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.connections: Final = gauge(
            "lognode_peer_connections", "Connections that other nodes have open, by listener.", ("listener",)
        )
        self.refusals: Final = counter(
            "lognode_peer_refusals_total",
            "Connections that were not let in, by listener and reason.",
            ("listener", "reason"),
        )
        self.received_bytes: Final = counter(
            "lognode_peer_received_bytes_total", "Bytes of messages that came from other nodes."
        )
        self.sent_bytes: Final = counter("lognode_peer_sent_bytes_total", "Bytes of messages to other nodes.")

    def count_bytes(self, received: int, sent: int) -> None:
        """Bytes of messages that went from or to another node."""
        self.received_bytes.inc(received)
        self.sent_bytes.inc(sent)


class SyncMeters:
    """Those of keeping timelines equal with other nodes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.links: Final = gauge(
            "lognode_links", "Peers that a session is open with, counted once for each tenant shared with them."
        )
        self.received_spans: Final = counter(
            "lognode_sync_received_spans_total", "Spans that other nodes sent, and that were stored or held already."
        )
        self.sent_spans: Final = counter("lognode_sync_sent_spans_total", "Spans that were sent to other nodes.")
        self.failures: Final = counter(
            "lognode_sync_failures_total",
            "What went wrong with other nodes, or with what they sent, by code.",
            ("code",),
        )


class TaskMeters:
    """Those of tasks; whose they are is no label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.waiting: Final = gauge(
            "lognode_tasks_waiting", "Tasks that wait for their time, or for their next attempt."
        )
        self.due: Final = gauge("lognode_tasks_due", "Tasks that are due and have not begun.")
        self.running: Final = gauge("lognode_tasks_running", "Tasks that are under way.")
        self.dead: Final = gauge("lognode_tasks_dead", "Tasks that were given up, and are kept.")
        self.lag: Final = gauge("lognode_tasks_lag_seconds", "Seconds that the longest waiting task has been due.")
        self.runs: Final = counter("lognode_schedule_runs_total", "Tasks that schedules made.")
        self.ended: Final = counter(
            "lognode_task_attempts_total",
            "Attempts of tasks that ended, by what they do and what came of it: done, retried or dead.",
            ("what", "outcome"),
        )
        for what in ("emit", "webhook", "journal"):
            for outcome in ("done", "retried", "dead"):
                self.ended.labels(what, outcome)

    def show(self, waiting: int, due: int, dead: int, lag_s: float) -> None:
        """What there is now."""
        self.waiting.set(waiting)
        self.due.set(due)
        self.dead.set(dead)
        self.lag.set(lag_s)


class ProcessMeters(ProcessCollector):
    """Those of the process, under the names that all programs use.

    The library's own gives up where /proc shows processes alone, as it does to a hardened service, since it looks
    there for the time at which the machine was started.
    """

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
