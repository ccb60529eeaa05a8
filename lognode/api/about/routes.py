"""GET /v1/node, /livez, /readyz, /v1/openapi.json and /v1/docs."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, Literal

import msgspec
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.about.openapi import describe
from lognode.api.about.readiness import Readiness
from lognode.api.app import ApiApp, Docs
from lognode.api.services import ApiSettings, Services
from lognode.core.access import Action
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.core.limits import FORMAT_VERSION

JSON_MEDIA: Final = "application/json"
HTML_MEDIA: Final = "text/html; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class TenantJson(msgspec.Struct, frozen=True):
    """A tenant that this node holds; `position` counts its spans here."""

    id: str
    alias: str | None
    position: int


class SubsystemJson(msgspec.Struct, frozen=True):
    """A part of the node that is started again when it fails. `error` and `detail` are of its last failure."""

    name: str
    state: Literal["running", "waiting", "off"]
    restarts: int
    error: str | None
    detail: str | None
    retry_s: float | None


class ReloadJson(msgspec.Struct, frozen=True):
    """Why the last reload changed nothing, if it failed, and the settings that changed and wait for a restart."""

    error: str | None
    detail: str | None
    place: str | None
    waiting: list[str]


class NodeJson(msgspec.Struct, frozen=True):
    """Who the node is, and how it is doing. `waiting_spans` have been sent but are not durable yet."""

    node: str
    version: str
    format_version: int
    uptime_s: float
    waiting_spans: int
    subsystems: list[SubsystemJson]
    reload: ReloadJson
    tenants: list[TenantJson]


class StateJson(msgspec.Struct, frozen=True):
    """That all is well; anything else is a problem."""

    status: str


def register(app: ApiApp) -> None:
    """Add the routes that tell of the node itself."""
    routes = _AboutRoutes(app)
    app.register_route(
        "/v1/node",
        routes.show_node,
        action=Action.NODE_READ,
        docs=Docs(answers={200: {JSON_MEDIA: NodeJson}}),
    )
    for rule, handler, answer in (
        ("/livez", routes.show_alive, {JSON_MEDIA: StateJson}),
        ("/readyz", routes.show_ready, {JSON_MEDIA: StateJson}),
        ("/v1/openapi.json", routes.show_openapi, {JSON_MEDIA: {"type": "object"}}),
        ("/v1/docs", routes.show_docs, {"text/html": {"type": "string"}}),
    ):
        app.register_route(rule, handler, action=None, docs=Docs(answers={200: answer}))


class _AboutRoutes:
    def __init__(self, app: ApiApp) -> None:
        self._app = app
        self._services = app.services
        self._readiness = Readiness(app.services)
        self._openapi: bytes | None = None

    async def show_node(self) -> Response:
        """Show who this node is, how it is doing, and its tenants."""
        return TrioResponse(_encode(_describe_node(self._services)), content_type=JSON_MEDIA)

    async def show_alive(self) -> Response:
        """Answer while the process runs."""
        return TrioResponse(_encode(StateJson("alive")), content_type=JSON_MEDIA)

    async def show_ready(self) -> Response:
        """Answer 200 when the node takes spans: after a write to its database and a look at its disk."""
        await self._readiness.check()
        return TrioResponse(_encode(StateJson("ready")), content_type=JSON_MEDIA)

    async def show_openapi(self) -> Response:
        """Show this description of the API."""
        if self._openapi is None:
            self._openapi = _encode(describe(self._app.routes, self._services.version))
        return TrioResponse(self._openapi, content_type=JSON_MEDIA)

    async def show_docs(self) -> Response:
        """Show the description of the API as a page for people; it loads nothing from elsewhere."""
        page, policy = _docs_page()
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return TrioResponse(page, headers=headers, content_type=HTML_MEDIA)


def _describe_node(services: Services) -> NodeJson:
    tenants = sorted(set(services.store.tenants.values()))
    return NodeJson(
        node=format_logline(logline(LogLineKind.NODE, services.node_public)),
        version=services.version,
        format_version=FORMAT_VERSION,
        uptime_s=round(services.world.monotonic_s() - services.started_s, 3),
        waiting_spans=services.writer.waiting_spans,
        subsystems=[SubsystemJson(*state) for state in services.supervisor.states()],
        reload=_describe_reload(services.settings),
        tenants=[
            TenantJson(b32encode(tenant.tenant_id), tenant.alias, services.heads.position(tenant.number))
            for tenant in tenants
        ],
    )


def _describe_reload(settings: ApiSettings) -> ReloadJson:
    problem, waiting = settings.problem, list(settings.waiting)
    if problem is None:
        return ReloadJson(None, None, None, waiting)
    return ReloadJson(problem.code, problem.detail, problem.place, waiting)


@cache
def _docs_page() -> tuple[bytes, str]:
    """The page, and a policy under which only its own script and style run, and only this node is asked."""
    page = (files("lognode.api.about") / "docs.html").read_bytes()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash_between(page, b'<script>', b'</script>')}'",
            f"style-src '{_hash_between(page, b'<style>', b'</style>')}'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    return page, policy


def _hash_between(page: bytes, start: bytes, stop: bytes) -> str:
    content = page.partition(start)[2].partition(stop)[0]
    return f"sha256-{b64encode(sha256(content).digest()).decode()}"
