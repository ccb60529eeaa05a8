"""Rule sets that are really published, and reactions that really run, on a node's engine."""

import sqlite3
from collections.abc import Callable

from lognode.core.ids import SpanId, b32encode
from lognode.engine.service.ruling.hindsight.rechecking import Rechecked, Rechecking
from lognode.engine.service.ruling.publishing import Publishing
from lognode.engine.service.ruling.reactions import Reactions
from lognode.timeline.record import Record, TenantRef, feed_of, id_of
from tests.engine.nodes import Engine, Wall, all_records


async def publish(engine: Engine, text: str, tenant: TenantRef | None = None) -> None:
    publishing = Publishing(engine.store, engine.writer, Wall().world(), engine.keys.public)
    await publishing.publish(tenant or engine.tenant, text.encode(), "yaml")


async def settle(engine: Engine, tenant: TenantRef | None = None) -> None:
    """React until nothing follows any more."""
    wanted = tenant or engine.tenant
    made = Reactions(engine.store, engine.writer, engine.heads, engine.standings, Wall().world(), engine.keys.public)
    position = -1
    while position != engine.heads.position(wanted.number):
        position = engine.heads.position(wanted.number)
        while await made.react(wanted):
            pass


def rechecking(engine: Engine) -> Rechecking:
    return Rechecking(engine.store, engine.writer.programs)


async def recheck_all(engine: Engine, tenant: TenantRef | None = None) -> dict[str, Rechecked]:
    """What each span of a tenant comes to, by its id."""
    wanted = tenant or engine.tenant
    again = rechecking(engine)

    def look(conn: sqlite3.Connection) -> dict[str, Rechecked]:
        return {b32encode(span): again.recheck(conn, wanted, span) for span in _ids(engine, wanted, conn)}

    return await engine.store.read(look)


async def find(engine: Engine, is_it: Callable[[Record], bool], tenant: TenantRef | None = None) -> list[SpanId]:
    """The ids of the spans of which this is true, in their order of arrival."""

    def look(conn: sqlite3.Connection) -> list[SpanId]:
        return _ids(engine, tenant or engine.tenant, conn, is_it)

    return await engine.store.read(look)


def _ids(
    engine: Engine, tenant: TenantRef, conn: sqlite3.Connection, is_it: Callable[[Record], bool] = lambda _: True
) -> list[SpanId]:
    feeds = engine.store.feeds
    records = [one for one in all_records(conn) if feed_of(one, feeds).tenant == tenant.number and is_it(one)]
    return [id_of(record, feed_of(record, feeds).feed_id) for record in records]
