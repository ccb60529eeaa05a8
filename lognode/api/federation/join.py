"""POST /v1/node/join: this node joins a tenant of others."""

from typing import Literal

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Docs
from lognode.api.federation.requests import JSON_MEDIA, json_answer, level_name, node_name, read_json, refuse_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.federation.invites.service.joining import Joined


class InvitationJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text of an invite, a secret."""

    invite: str


class JoinedJson(msgspec.Struct, frozen=True):
    """What joining came to.

    `state` is member, syncing (admitted; the spans that prove it are on their way), or pending (a person has to
    approve: ask again after `retry_s` seconds). `name` is what to call the tenant on this node. `words` are to be
    compared with what `server`, the node that answered, shows; both are null where this node was a member already.
    """

    tenant: str
    name: str
    state: Literal["member", "syncing", "pending"]
    level: Literal["observer", "trusted", "root"]
    server: str | None
    words: str | None
    retry_s: int | None


def register(app: ApiApp) -> None:
    """Add the route by which this node joins."""
    routes = _JoinRoutes(app)
    docs = Docs(body={JSON_MEDIA: InvitationJson}, answers={status: {JSON_MEDIA: JoinedJson} for status in (200, 202)})
    app.register_route("/v1/node/join", routes.join_tenant, methods=("POST",), action=Action.NODE_JOIN, docs=docs)


class _JoinRoutes:
    def __init__(self, app: ApiApp) -> None:
        self._services = app.services

    async def join_tenant(self) -> Response:
        """Join a tenant by an invite.

        Asks the root members that the invite names. Answers 200 once this node is a member, and 202 where a person has
        to approve first. Doing it again is harmless. The tenant becomes this node's default one if nothing was recorded
        in that.
        """
        refuse_parameters()
        if not self._services.settings.federation:
            raise CallerError("federation.off")
        asked = await read_json(InvitationJson)
        joined = await self._services.desk.joins.join(asked.invite)
        return json_answer(_joined_json(joined), 202 if joined.state == "pending" else 200)


def _joined_json(joined: Joined) -> JoinedJson:
    tenant = b32encode(joined.tenant)
    return JoinedJson(
        tenant=tenant,
        name=joined.alias or tenant,
        state=joined.state,
        level=level_name(joined.level),  # type: ignore[arg-type]
        server=node_name(joined.server_key) if joined.server_key else None,
        words=joined.words,
        retry_s=joined.retry_s,
    )
