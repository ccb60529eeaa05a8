"""What somebody was told is settled, and whether it stayed so.

Owns looks that machines take at what they hold while there is trouble. Invariant: a look is of one moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.ids import FeedId
from lognode.core.span import PRIVATE
from lognode.timeline.store.agreement.settling import settled_hlc

if TYPE_CHECKING:
    from lognode.sim.machines.machine import Machine

_BEFORE: Final = (
    "SELECT f.feed_id, s.seq FROM spans s JOIN feeds f ON f.feed = s.feed LEFT JOIN cuts c ON c.feed = s.feed"
    f" WHERE s.hlc <= ? AND s.visibility <> {PRIVATE} AND (c.size IS NULL OR s.seq < c.size)"
)

Spots = frozenset[tuple[FeedId, int]]


class Look(NamedTuple):
    """All that counted on a machine up to a time behind which nothing more could come."""

    machine: Machine
    hlc: int
    spots: Spots
    silent: frozenset[bytes]  # who is or was a member, and may not write


def look_at(machine: Machine) -> Look:
    """What is settled there now."""
    tenant = machine.tenant
    assert tenant is not None
    hlc = settled_hlc(machine.disk.conn, tenant, machine.process.store.feeds, machine.membership)
    members = machine.membership.members
    silent = frozenset(key for key, member in members.items() if member.level < Level.TRUSTED)
    return Look(machine, hlc, spots_until(machine, hlc), silent)


def spots_until(machine: Machine, hlc: int) -> Spots:
    """All that counts on a machine up to a time."""
    return frozenset((FeedId(feed), seq) for feed, seq in machine.disk.conn.execute(_BEFORE, (hlc,)))
