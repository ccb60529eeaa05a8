"""What is wrong with what other nodes sent, or with this node's place among them, as JSON: each by its code."""

import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from lognode.api.app import Caller
from lognode.core.clock import hlc_from_ms, hlc_ms, time_text
from lognode.core.errors import ERRORS
from lognode.core.errors.federation.voids import VOID_REASONS, VoidReason
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, FINDINGS_SHOWN_MAX
from lognode.federation.sync.findings import Finding
from lognode.timeline.agreement.alerts import Alert
from lognode.timeline.record import TenantRef
from lognode.timeline.store.read.voids import Ahead, Voided, read_ahead, read_voided

_NO_REASON: Final = VoidReason("Void", "See what 'lognode show' says of it.")


class FindingJson(msgspec.Struct, frozen=True):
    """Something that is not as it should be, how many times, and what to do.

    `node` is whom it is about: the author of what is void or ahead of time. `at` is when it was found last.
    """

    code: str
    count: int
    node: str | None
    at: str | None
    title: str
    detail: str
    hint: str


async def tenant_findings(caller: Caller, author: bytes | None = None) -> list[FindingJson]:
    """What of a tenant is void or ahead of time, by whom and why.

    First comes what keeps this node from its members, and what happened to its own feeds.
    With `author`, a node key, what it wrote alone.
    """
    services = caller.services
    found = []
    trouble = services.links.trouble(caller.tenant)
    if trouble is not None:
        own, spec = _node(services.node_public), trouble.spec
        found.append(FindingJson(trouble.code, 1, own, None, spec.title, trouble.detail, spec.hint))
    found += [_alert(alert, services.node_public) for alert in services.writer.alerts.of(caller.tenant)]
    hlc = hlc_from_ms(services.world.now_ms() + CLOCK_AHEAD_MS_MAX + 1) - 1
    voided, ahead = await services.store.read(_read, caller.tenant, hlc)
    found += [_ahead(each) for each in ahead if author in (None, each.author)]
    found += [_voided(each) for each in voided if author in (None, each.author)]
    return found[:FINDINGS_SHOWN_MAX]


def peer_findings(findings: Iterable[Finding]) -> list[FindingJson]:
    """What a peer sent that was refused."""
    return [
        FindingJson(code, times, None, time_text(at_ms), ERRORS[code].title, detail, ERRORS[code].hint)
        for code, times, detail, at_ms in findings
    ]


def _read(conn: sqlite3.Connection, tenant: TenantRef, hlc: int) -> tuple[list[Voided], list[Ahead]]:
    return read_voided(conn, tenant), read_ahead(conn, tenant, hlc)


def _alert(alert: Alert, own_key: bytes) -> FindingJson:
    spec, at = ERRORS[alert.code], time_text(alert.at_ms)
    return FindingJson(alert.code, alert.times, _node(own_key), at, spec.title, alert.detail, spec.hint)


def _ahead(ahead: Ahead) -> FindingJson:
    spec = ERRORS["clock.ahead"]
    detail = f"spans of up to {time_text(hlc_ms(ahead.newest))}"
    return FindingJson(spec.code, ahead.entries, _node(ahead.author), None, spec.title, detail, spec.hint)


def _voided(voided: Voided) -> FindingJson:
    reason = VOID_REASONS.get(voided.reason, _NO_REASON)
    detail = f"as entry {voided.seq} of feed {b32encode(voided.feed)}"
    return FindingJson(voided.reason, voided.entries, _node(voided.author), None, reason.title, detail, reason.hint)


def _node(node_key: bytes) -> str:
    return format_logline(logline(LogLineKind.NODE, node_key))
