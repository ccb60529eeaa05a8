"""What a database calls void and not common, against what its control spans come to."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from lognode.core.ids import FeedId
from lognode.core.limits import TENANT_SHIFT_BITS
from lognode.timeline.members import membership
from lognode.timeline.store.audit.reading import Reading, as_bytes, as_text
from lognode.timeline.verify.history import Home

_CUTS: Final = "SELECT feed, size, CAST(reason AS BLOB) FROM cuts"
_VOIDS: Final = "SELECT row, CAST(reason AS BLOB) FROM voids"


_EVIDENCE: Final = "SELECT tenant, feed_id, seq FROM evidence"
_BOUNDS: Final = "SELECT tenant, feed_id, size FROM bounds"


def check_voids(reading: Reading, homes: Mapping[int, Home], *, with_bounds: bool) -> None:
    """Report cuts, voids and bounds that do not follow from control spans held and foretold, and missing ones."""
    cuts: dict[int, tuple[int, str]] = {}
    voids: dict[int, str] = {}
    shared: dict[tuple[int, bytes], int] = {}
    evidence: dict[int, dict[FeedId, int]] = defaultdict(dict)
    for number, feed_id, seq in reading.rows("evidence", _EVIDENCE) if with_bounds else ():
        if isinstance(seq, int):
            evidence[number][FeedId(as_bytes(feed_id))] = seq
    for number, home in homes.items():
        members = membership(home.ref.tenant_id, home.controls, evidence[number])
        numbers = {walk.ref.feed_id: feed for feed, walk in home.walks.items()}
        shared.update(((number, bytes(feed)), size) for feed, size in members.bounds.items())
        cuts.update((numbers[feed], (cut.size, cut.reason)) for feed, cut in members.cuts.items() if feed in numbers)
        voids.update((home.rows[span], reason) for span, reason in members.voids.items() if span in home.rows)
    tenants = {feed: home.ref.tenant_id for home in homes.values() for feed in home.walks}
    for feed, size, raw in reading.rows("cuts", _CUTS):
        expected, found = cuts.pop(feed, None), (size, as_text(raw))
        if expected != found:
            detail = f"{found}, by the control spans {'none' if expected is None else expected}"
            reading.report.add("cut.wrong", tenants.get(feed), f"cuts feed {feed}", detail)
    for feed in cuts:
        reading.report.add("cut.wrong", tenants.get(feed), f"cuts feed {feed}", "missing")
    for row, raw in reading.rows("voids", _VOIDS):
        said, reason = voids.pop(row, None), as_text(raw)
        if said != reason:
            home_at = homes.get(row >> TENANT_SHIFT_BITS)
            detail = f"{reason!r:.80}, by the control spans {'it is not' if said is None else said}"
            reading.report.add("void.wrong", home_at.ref.tenant_id if home_at else None, f"voids row {row}", detail)
    for row in voids:
        tenant = homes[row >> TENANT_SHIFT_BITS].ref.tenant_id
        reading.report.add("void.wrong", tenant, f"voids row {row}", "missing")
    if with_bounds:
        _check_bounds(reading, homes, shared)


def _check_bounds(reading: Reading, homes: Mapping[int, Home], shared: Mapping[tuple[int, bytes], int]) -> None:
    found = {(tenant, feed): size for tenant, feed, size in reading.rows("bounds", _BOUNDS)}
    for tenant, feed in found.keys() | shared.keys():
        said, expected = found.get((tenant, feed)), shared.get((tenant, feed))
        if said != expected:
            home, place = homes.get(tenant), f"bounds feed_id {as_bytes(feed).hex()}"
            detail = f"{said}, by the control spans {expected}"
            reading.report.add("bound.wrong", home.ref.tenant_id if home else None, place, detail)
