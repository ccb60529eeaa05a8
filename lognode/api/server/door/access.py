"""Who may come in: Host, Origin, token, then tenant and role, in this order.

Pages of other sites can reach a local port, so Host and Origin are checked on every request and upgrade
before anything else is looked at. Invariant: an unknown tenant and one without the right give the same
answer, byte for byte.
"""

import hmac
import re
from hashlib import sha256
from typing import Any, Final, NamedTuple

from lognode.api.services import Services
from lognode.core.access import Action, Principal, allow
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, logline
from lognode.timeline.record import TenantRef

# The only routes that answer without a token; nothing on them belongs to a tenant.
PUBLIC_PATHS: Final = frozenset({"/livez", "/readyz", "/v1/docs", "/v1/openapi.json"})

_BEARER: Final = b"bearer "
_PORT: Final = re.compile(rb":[0-9]{1,5}\Z")


class _Names(NamedTuple):
    """Values of Host and Origin that name this node at one listening address."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]


class Door:
    """Decides on each request before it is routed."""

    def __init__(self, services: Services) -> None:
        self._settings = services.settings
        self._allowed_hosts: tuple[str, ...] = ()
        self._listed = frozenset[bytes]()
        self._token_hash = sha256(services.admin_token).digest()
        self._admin = Principal.admin(logline(LogLineKind.NODE, services.node_public))
        self._names: dict[Any, _Names] = {}

    def admit(self, scope: Any) -> Principal | None:
        """The principal of an ASGI scope; None on a public path.

        Raises CallerError host.forbidden, origin.forbidden, token.missing or token.wrong.
        """
        host = origin = token = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.lower() if host is None else b""  # of two, which one counts is anybody's guess
            elif name == b"origin":
                origin = value.lower() if origin is None else b""
            elif name == b"authorization":
                token = value if token is None else b""
        self._check_names(scope, host or b"", origin)
        return None if scope["path"] in PUBLIC_PATHS else self._principal(token)

    def _check_names(self, scope: Any, host: bytes, origin: bytes | None) -> None:
        server = scope.get("server")
        if self._settings.allowed_hosts is not self._allowed_hosts:  # they were loaded, or loaded again
            self._allowed_hosts = self._settings.allowed_hosts
            self._listed = frozenset(name.lower().encode() for name in self._allowed_hosts)
        names = self._names.get(server)
        if names is None:
            names = self._names[server] = _names_at(server)
        is_listed = host not in names.hosts and _PORT.sub(b"", host) in self._listed
        # A full URL as the target would name a second host beside the header.
        if not (is_listed or host in names.hosts) or not scope["path"].startswith("/"):
            raise CallerError("host.forbidden")
        if origin is None or origin in names.origins:
            return
        # A listed name belongs to a proxy, whose port and scheme only the request itself tells.
        if not is_listed or origin not in {b"http://" + host, b"https://" + host}:
            raise CallerError("origin.forbidden")

    def _principal(self, token: bytes | None) -> Principal:
        if token is None:
            raise CallerError("token.missing")
        scheme, presented = token[: len(_BEARER)], token[len(_BEARER) :]
        # Hashes have one length, so the comparison's time says nothing about the token's.
        is_right = hmac.compare_digest(sha256(presented.strip()).digest(), self._token_hash)
        if scheme.lower() != _BEARER or not is_right:
            raise CallerError("token.wrong")
        return self._admin


def resolve_tenant(services: Services, principal: Principal | None, name: str, action: Action) -> TenantRef:
    """The tenant called `name` in which `principal` may do `action`. Raises CallerError("tenant.unknown")."""
    tenant = services.store.tenants.get(name)
    if tenant is None or not allow(principal, action, tenant.tenant_id):
        raise CallerError("tenant.unknown")
    return tenant


def _names_at(server: tuple[str, int | None] | None) -> _Names:
    """The names of this node at the address that a client connected to; a Unix socket has only one."""
    if server is None or server[1] is None:
        return _Names(frozenset({b"localhost"}), frozenset())
    address, port = server
    own = {"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address}
    hosts = {*own, *(f"{name}:{port}" for name in own)}
    # Another port is another program, also on this machine; a browser leaves port 80 out.
    origins = {f"http://{name}" if port == 80 else f"http://{name}:{port}" for name in own}
    return _Names(frozenset(host.encode() for host in hosts), frozenset(origin.encode() for origin in origins))
