"""The control spans that a database holds ahead of their ranges, each checked against its own proof."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.timeline.control.founding import check_tenant_create, parse_tenant_create
from lognode.timeline.store.audit.reading import Reading, as_bytes
from lognode.timeline.verify.feed import FeedWalk
from lognode.timeline.verify.foretold import ForetoldRow, Keys, read_foretelling, read_keys
from lognode.timeline.verify.history import Home

_ROWS: Final = (
    "SELECT tenant, feed_id, seq, hlc, visibility, header, body, note, path FROM foretold ORDER BY tenant, feed_id, seq"
)
_CODE: Final = "foretold.wrong"


def check_foretold(reading: Reading, homes: Mapping[int, Home]) -> None:
    """Report rows that are not proven, and those whose range is here; a tenant.create among them proves its tenant."""
    walks = {(home.ref.number, walk.ref.feed_id): walk for home in homes.values() for walk in home.walks.values()}
    for (tenant, feed_id), rows in groupby(reading.rows("foretold", _ROWS), key=_feed_of):
        home = homes.get(tenant)
        place = f"foretold tenant {tenant} feed {feed_id.hex()}"
        if home is None:
            for row in rows:
                reading.report.add(_CODE, None, f"{place} seq {row[2]}", "there is no such tenant")
            continue
        _check_feed(reading, home, FeedId(feed_id), walks.get((tenant, FeedId(feed_id))), place, rows)


def _feed_of(row: tuple[Any, ...]) -> tuple[Any, bytes]:
    return row[0], as_bytes(row[1])


def _check_feed(
    reading: Reading, home: Home, feed: FeedId, walk: FeedWalk | None, place: str, rows: Iterator[tuple[Any, ...]]
) -> None:
    tenant = home.ref.tenant_id
    keys = Keys(walk.ref.node_key, walk.ref.log_key) if walk else None
    for _, _, seq, *values in rows:
        where = f"{place} seq {seq}"
        if walk is not None and seq < walk.size:
            reading.report.add(_CODE, tenant, where, "the range that holds it is here")
        row = ForetoldRow(seq, *values)
        try:
            if keys is None:
                keys = read_keys(tenant, feed, row)
            found = read_foretelling(tenant, feed, keys, row)
        except CallerError as error:
            reading.report.add(_CODE, tenant, where, error.detail)
            continue
        home.controls.append(found)
        if found.kind == "tenant.create" and found.seq == 1:
            home.is_proven |= _proves(tenant, found.data)


def _proves(tenant: TenantId, data: bytes) -> bool:
    try:
        check_tenant_create(tenant, parse_tenant_create(data))
    except CallerError:
        return False
    return True
