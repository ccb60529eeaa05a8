"""The HTTP application: one way to register a route, and what every request passes.

Owns dispatch: the door (Host, Origin, token), the route's Action, the handler, and problems for all that
goes wrong. Quart's signals, hooks and sessions are left out: they cost time on each request, and nothing
here uses them. Invariant: no handler runs before `allow` said yes to its Action, save those of the four
public paths.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from quart import websocket
from quart.ctx import RequestContext, WebsocketContext
from quart_trio import QuartTrio

from lognode.api.server.connection import ApiHTTPConnection, ApiWebsocket, ApiWebsocketConnection
from lognode.api.server.door.access import PUBLIC_PATHS, Door, resolve_tenant
from lognode.api.server.door.problems import error_of, problem_response, routing_error
from lognode.api.services import Services
from lognode.core.access import Action, Principal, allow
from lognode.core.errors import CallerError, LognodeError
from lognode.timeline.record import TenantRef

# Answers a Response; on a WebSocket, None once it was served.
Handler = Callable[..., Awaitable[Any]]
# Media type -> a type that msgspec knows, or a JSON schema.
Media = Mapping[str, Any]
_BRACES: Final = str.maketrans("<>", "{}")  # from the router's way to write parameters to that of the documents


class Caller(NamedTuple):
    """Who asks, and in which tenant."""

    services: Services
    principal: Principal
    tenant: TenantRef

    def may(self, action: Action) -> bool:
        """Whether the caller may also do `action` in this tenant."""
        return allow(self.principal, action, self.tenant.tenant_id)


_caller: ContextVar[Caller] = ContextVar("lognode_caller")


def current() -> Caller:
    """The caller of the request or socket that this task serves; only in routes with a tenant."""
    return _caller.get()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header of a route, for its documentation."""

    name: str
    description: str
    type: Any = str
    is_repeatable: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """What OpenAPI says of a route beyond its rule; summary and description are the handler's docstring."""

    query: Sequence[Parameter] = ()
    headers: Sequence[Parameter] = ()
    body: Media = field(default_factory=dict)
    answers: Mapping[int, Media] = field(default_factory=dict)


class Route(NamedTuple):
    """A registered route; `action` is None on the public paths alone."""

    rule: str
    methods: tuple[str, ...]
    action: Action | None
    handler: Handler
    docs: Docs
    is_websocket: bool


class ApiApp(QuartTrio):
    """The application; routes stand in `routes` by their handler's name."""

    asgi_http_class = ApiHTTPConnection
    asgi_websocket_class = ApiWebsocketConnection
    websocket_class = ApiWebsocket

    def __init__(self, services: Services) -> None:
        super().__init__("lognode.api", static_folder=None, template_folder=None)
        self.services = services
        # Else a doubled slash is answered by a redirection, in HTML.
        self.url_map.merge_slashes = False
        # What the path's end may hold where it is a text of anybody's; the router's own form refuses some.
        form = {"regex": "(?s:.+)", "part_isolating": False}
        text = type("TextConverter", (self.url_map.converters["path"],), form)
        self.url_map.converters["text"] = text
        self.routes: dict[str, Route] = {}
        self._door = Door(services)
        self._meters = services.meters.api

    def register_route(
        self,
        rule: str,
        handler: Handler,
        *,
        methods: Sequence[str] = ("GET",),
        action: Action | None,
        docs: Docs,
        is_websocket: bool = False,
    ) -> None:
        """Serve `rule` by `handler`, which gets the rule's parameters except `<tenant>` as keywords.

        With an Action, `allow` is asked on each request: in the tenant where the rule has `<tenant>`, which
        `current()` then gives, else on the node as a whole. The handler's name is the operation's id.
        """
        assert (action is None) == (rule in PUBLIC_PATHS), f"{rule}: only public paths go without an Action"
        name = handler.__name__
        assert name not in self.routes, f"two handlers are called {name}"
        self.routes[name] = Route(rule, tuple(methods), action, handler, docs, is_websocket)
        self.add_url_rule(
            rule,
            name,
            handler,
            methods=list(methods),
            provide_automatic_options=False,
            websocket=is_websocket,
        )

    async def handle_request(self, request: Any) -> Any:
        """The answer to one request; refused ones never reach the router."""
        started_s = self.services.world.monotonic_s()
        try:
            request.scope["principal"] = self._door.admit(request.scope)
        except CallerError as error:
            response = self._problem(error)
        else:
            response = await super().handle_request(request)
        rule, duration_s = request.url_rule, self.services.world.monotonic_s() - started_s
        # What leads to no route may be spelled in any number of ways, and so may its method.
        route = (rule.rule.replace("<text:", "<").translate(_BRACES), request.method) if rule else ("none", "none")
        self._meters.requests.labels(*route, f"{response.status_code // 100}xx").observe(duration_s)
        return response

    async def handle_websocket(self, websocket: Any) -> Any:
        """The answer to an upgrade that is refused, else None once the socket was served."""
        try:
            websocket.scope["principal"] = self._door.admit(websocket.scope)
        except CallerError as error:
            return self._problem(error)
        return await super().handle_websocket(websocket)

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> Any:
        """The handler's answer; what it raises goes to `handle_exception`."""
        assert request_context is not None
        return await self._run_handler(request_context.request)

    async def full_dispatch_websocket(self, websocket_context: WebsocketContext | None = None) -> None:
        """None once the socket was served; what it raises goes to `handle_websocket_exception`."""
        assert websocket_context is not None
        await self._run_handler(websocket_context.websocket)

    async def handle_exception(self, error: BaseException) -> Any:
        """The problem that stands for what a handler or the router raised."""
        return self._problem(error_of(error))

    async def handle_websocket_exception(self, error: BaseException) -> Any:
        """A problem while the upgrade stands open; afterwards a close code, with the error's code as reason."""
        socket: Any = websocket
        if not socket.is_accepted:
            return self._problem(error_of(error))
        fault = error_of(error)
        self._meters.count_error(fault)
        await socket.close(1001 if fault.code == "node.stopping" else 1011, fault.code)
        return None

    def _problem(self, error: LognodeError) -> Any:
        self._meters.count_error(error)
        return problem_response(error)

    async def _run_handler(self, request: Any) -> Any:
        if request.routing_exception is not None:
            raise routing_error(request.routing_exception)
        route = self.routes[request.url_rule.endpoint]
        arguments = request.view_args
        if route.action is not None:
            principal = request.scope["principal"]
            name = arguments.pop("tenant", None)
            if name is not None:
                tenant = resolve_tenant(self.services, principal, name, route.action)
                _caller.set(Caller(self.services, principal, tenant))
            elif not allow(principal, route.action, None):
                raise CallerError("role.insufficient")
        return await route.handler(**arguments)


def create_app(services: Services, registrations: Sequence[Callable[[ApiApp], None]]) -> ApiApp:
    """The application with the routes that each of `registrations` adds."""
    app = ApiApp(services)
    for register in registrations:
        register(app)
    return app
