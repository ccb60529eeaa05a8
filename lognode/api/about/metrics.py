"""GET /metrics: what the node has counted, and how full it is now, in the formats of Prometheus.

Owns the reading of what nobody counts, such as the sizes of files. Invariant: the answer comes within
READY_S_MAX, also while the disk hangs; what could not be read is NaN then.
"""

import math
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import trio
from prometheus_client.exposition import choose_encoder
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.about.readiness import free_bytes
from lognode.api.app import ApiApp, Docs, Parameter
from lognode.api.services import Services
from lognode.core.access import Action
from lognode.core.limits import READY_S_MAX
from lognode.engine.service.upkeep.supervisor import STATES, sort_of


def register(app: ApiApp) -> None:
    """Add the route of metrics."""
    text = {"type": "string"}
    app.register_route(
        "/metrics",
        _MetricsRoute(app.services).show_metrics,
        action=Action.METRICS_READ,
        docs=Docs(
            headers=[Parameter("Accept", "Which of the formats; Prometheus sends it by itself")],
            answers={200: {"text/plain": text, "application/openmetrics-text": text}},
        ),
    )


class _MetricsRoute:
    def __init__(self, services: Services) -> None:
        self._services = services
        # A disk that hangs holds one thread, however many ask.
        self._measuring = trio.CapacityLimiter(1)

    async def show_metrics(self) -> Response:
        """Show what the node counts, for Prometheus.

        Nothing in it tells tenants apart. docs/operating.md describes each metric.
        """
        meters, store = self._services.meters, self._services.store
        sizes = (math.nan, math.nan, math.nan)
        with trio.move_on_after(READY_S_MAX):
            sizes = await trio.to_thread.run_sync(_sizes, store.path, abandon_on_cancel=True, limiter=self._measuring)
        for gauge, size in zip((meters.database_size, meters.wal_size, meters.disk_free), sizes, strict=True):
            gauge.set(size)
        meters.reads_waiting.set(store.waiting_reads)
        self._count_subsystems()
        encode, media = choose_encoder(request.headers.get("Accept", ""))
        return TrioResponse(encode(meters.registry), content_type=media)

    def _count_subsystems(self) -> None:
        counts = Counter((sort_of(part.name), part.state) for part in self._services.supervisor.states())
        gauge = self._services.meters.subsystems
        gauge.clear()  # some may have gone
        for sort, state in product({sort for sort, _ in counts}, STATES):
            gauge.labels(sort, state).set(counts[sort, state])


def _sizes(database: Path) -> tuple[float, float, float]:
    """Bytes of a database, of its write-ahead log, and those free for it; NaN for what cannot be read."""
    folder, log = database.parent, database.with_name(f"{database.name}-wal")
    return _read(lambda: database.stat().st_size), _read(lambda: log.stat().st_size), _read(lambda: free_bytes(folder))


def _read(size: Callable[[], int]) -> float:
    try:
        return size()
    except FileNotFoundError:
        return 0
    except OSError:
        return math.nan
