"""What the owner of this node is to know of its feeds: what happened, and what there is to do.

Each alert is logged, told to whoever listens, and kept until the node stops, by tenant and code. Knows no sockets.
Invariant: there is one alert of a code in a tenant, the newest, with how often it came.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from lognode.core.errors import ERRORS
from lognode.core.ids import b32encode
from lognode.core.world import World
from lognode.timeline.record import TenantRef

_log = structlog.get_logger(__name__)


class Alert(NamedTuple):
    """What happened, as a row of the table of errors says it, how often, and when last."""

    code: str
    detail: str
    times: int
    at_ms: int


Heed = Callable[[TenantRef, Alert], None]


class Alerts:
    """The alerts of all tenants since the node started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[tuple[int, str], Alert] = {}
        self.heed: Heed = lambda _tenant, _alert: None  # called with each; it must not fail

    def tell(self, tenant: TenantRef, code: str, detail: str, times: int = 1) -> None:
        """Something happened, or `times` as much of it as was told before."""
        before = self._found.get((tenant.number, code))
        alert = Alert(code, detail, times + (before.times if before else 0), self._world.now_ms())
        self._found[tenant.number, code] = alert
        hint = ERRORS[code].hint
        _log.warning("alert", code=code, tenant=b32encode(tenant.tenant_id), detail=detail, hint=hint)
        self.heed(tenant, alert)

    def of(self, tenant: TenantRef) -> Sequence[Alert]:
        """The alerts of a tenant, by code."""
        return sorted(alert for (number, _), alert in self._found.items() if number == tenant.number)
