"""What the owner of this node is to know of its feeds: what happened, and what there is to do.

Each alert is logged, told to whoever listens, and kept by tenant and code, over restarts too. Knows no sockets.
Invariant: there is one alert of a code in a tenant, the newest, with how often it came; it ends by itself, a time after
it came last.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from lognode.core.errors import ERRORS
from lognode.core.ids import b32encode
from lognode.core.limits import ALERTS_KEPT_S
from lognode.core.world import World
from lognode.timeline.agreement.alerts import Alert
from lognode.timeline.record import TenantRef
from lognode.timeline.store.agreement.continuity import load_alerts, save_alert
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)
_KEPT_MS: Final = 1000 * ALERTS_KEPT_S

Heed = Callable[[TenantRef, Alert], None]


class Alerts:
    """The alerts of all tenants."""

    def __init__(self, store: Store, world: World) -> None:
        self._store = store
        self._world = world
        self._found: dict[tuple[int, str], Alert] = {}
        self.heed: Heed = lambda _tenant, _alert: None  # called with each; it must not fail

    async def load(self) -> None:
        """Read what was told before the start. Raises sqlite3.Error."""
        stored = {(tenant, alert.code): alert for tenant, alert in await self._store.write(load_alerts)}
        self._found = {**stored, **self._found}

    async def tell(self, tenant: TenantRef, code: str, detail: str, times: int = 1) -> None:
        """Something happened, or `times` as much of it as was told before."""
        before = next((alert for alert in self.of(tenant) if alert.code == code), None)
        alert = Alert(code, detail, times + (before.times if before else 0), self._world.now_ms())
        self._found[tenant.number, code] = alert
        hint = ERRORS[code].hint
        _log.warning("alert", code=code, tenant=b32encode(tenant.tenant_id), detail=detail, hint=hint)
        try:
            await self._store.write(save_alert, tenant.number, alert)
        except sqlite3.Error as error:
            # It is told all the same, and logged; only a restart forgets it.
            _log.warning("alert_not_stored", code=code, error=str(error))
        self.heed(tenant, alert)

    def of(self, tenant: TenantRef) -> Sequence[Alert]:
        """The alerts of a tenant that are not over, by code."""
        newer_ms = self._world.now_ms() - _KEPT_MS
        found = (alert for (number, _), alert in self._found.items() if number == tenant.number)
        return sorted(alert for alert in found if alert.at_ms > newer_ms)
