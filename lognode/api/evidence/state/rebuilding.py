"""POST .../state/rebuild: making again what state is read from."""

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Docs, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, refuse_parameters
from lognode.core.access import Action
from lognode.timeline.store.agreement.rebuilding import rebuild_state


class RebuiltTableJson(msgspec.Struct, frozen=True):
    """One table of the database: how many rows it has, and how many of these were missing, or were others."""

    rows: int
    changed: int


class RebuiltJson(msgspec.Struct, frozen=True):
    """The tables that were made again."""

    tables: dict[str, RebuiltTableJson]


def register(app: ApiApp) -> None:
    """Add the route."""
    app.register_route(
        "/v1/tenants/<tenant>/state/rebuild",
        rebuild_tables,
        methods=("POST",),
        action=Action.STATE_REBUILD,
        docs=Docs(answers={200: {JSON_MEDIA: RebuiltJson}}),
    )


async def rebuild_tables() -> Response:
    """Make again what state is read from, out of spans alone, for all tenants of this node.

    In a sound database that changes nothing. Appends wait meanwhile; reads go on.
    """
    refuse_parameters()
    found = await current().services.store.write(rebuild_state)
    return json_answer(RebuiltJson({table: RebuiltTableJson(*counts) for table, counts in found.items()}))
