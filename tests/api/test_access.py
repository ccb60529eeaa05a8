"""Who may come in: Host and Origin, then the token, then the tenant, over HTTP and over WebSocket upgrades."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from quart import websocket
from quart.testing.connections import WebsocketResponseError
from quart_trio.wrappers import TrioResponse

from lognode.api.about import routes as about
from lognode.api.app import ApiApp, Docs, create_app, current
from lognode.api.server.door.access import PUBLIC_PATHS, resolve_tenant
from lognode.api.services import Services
from lognode.core.access import Action, Principal, Role
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, b32encode, logline

TCP: Final = {"server": ("127.0.0.1", 7480)}
OTHER_LOOPBACK: Final = {"server": ("127.0.0.2", 7480)}
IPV6: Final = {"server": ("::1", 7480)}
PORT_80: Final = {"server": ("127.0.0.1", 80)}
UNIX: Final[Mapping[str, Any]] = {"server": None}

# Where it listens, Host, Origin, and the code of the refusal; None: let in.
CASES: Final = [
    (TCP, "127.0.0.1:7480", None, None),
    (TCP, "127.0.0.1", None, None),
    (TCP, "localhost:7480", None, None),
    (TCP, "localhost", None, None),
    (TCP, "LOCALHOST:7480", None, None),
    (TCP, "[::1]:7480", None, None),
    (TCP, "[::1]", None, None),
    (TCP, "node.example", None, None),
    (TCP, "node.example:7480", None, None),
    (TCP, "node.example:8443", None, None),
    (TCP, "Node.Example", None, None),
    (OTHER_LOOPBACK, "127.0.0.2:7480", None, None),
    (IPV6, "[::1]:7480", None, None),
    (UNIX, "localhost", None, None),
    (UNIX, "node.example", None, None),
    (TCP, None, None, "host.forbidden"),
    (TCP, "", None, "host.forbidden"),
    (TCP, "127.0.0.1:7481", None, "host.forbidden"),
    (TCP, "127.0.0.1:", None, "host.forbidden"),
    (TCP, "127.0.0.1:07480", None, "host.forbidden"),
    (TCP, "127.0.0.2:7480", None, "host.forbidden"),
    (TCP, "127.1:7480", None, "host.forbidden"),
    (TCP, "2130706433:7480", None, "host.forbidden"),
    (TCP, "0.0.0.0:7480", None, "host.forbidden"),
    (TCP, "::1", None, "host.forbidden"),
    (TCP, "localhost.:7480", None, "host.forbidden"),
    (TCP, "localhost:7480 ", None, "host.forbidden"),
    (TCP, "evil.example", None, "host.forbidden"),
    (TCP, "evil.example:7480", None, "host.forbidden"),
    (TCP, "localhost.evil.example:7480", None, "host.forbidden"),
    (TCP, "127.0.0.1.nip.example:7480", None, "host.forbidden"),
    (TCP, "evil.node.example", None, "host.forbidden"),
    (TCP, "node.example.", None, "host.forbidden"),
    (TCP, "node.example:port", None, "host.forbidden"),
    (TCP, "node.example:8443:1", None, "host.forbidden"),
    (TCP, "user@127.0.0.1:7480", None, "host.forbidden"),
    (TCP, "127.0.0.1:7480,evil.example", None, "host.forbidden"),
    (UNIX, "127.0.0.1", None, "host.forbidden"),
    (UNIX, "localhost:7480", None, "host.forbidden"),
    (TCP, "127.0.0.1:7480", "http://127.0.0.1:7480", None),
    (TCP, "127.0.0.1:7480", "http://localhost:7480", None),
    (TCP, "localhost:7480", "HTTP://LOCALHOST:7480", None),
    (TCP, "[::1]:7480", "http://[::1]:7480", None),
    (PORT_80, "localhost", "http://localhost", None),
    (TCP, "node.example", "https://node.example", None),
    (TCP, "node.example:8443", "https://node.example:8443", None),
    (TCP, "node.example", "http://node.example", None),
    (UNIX, "node.example", "https://node.example", None),
    (TCP, "127.0.0.1:7480", "null", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "http://127.0.0.1", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "http://localhost:3000", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "https://127.0.0.1:7480", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "http://evil.example", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "http://127.0.0.1:7480.evil.example", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "http://evil.example http://127.0.0.1:7480", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "file://", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "chrome-extension://abcdef", "origin.forbidden"),
    (TCP, "127.0.0.1:7480", "https://node.example", "origin.forbidden"),
    (TCP, "node.example", "https://node.example:8443", "origin.forbidden"),
    (TCP, "node.example:8443", "https://node.example", "origin.forbidden"),
    (TCP, "node.example", "https://evil.node.example", "origin.forbidden"),
    (TCP, "node.example", "http://127.0.0.1:3000", "origin.forbidden"),
    (UNIX, "localhost", "http://localhost", "origin.forbidden"),
    (TCP, "evil.example", "http://evil.example", "host.forbidden"),
]


async def show_tenant() -> TrioResponse:
    caller = current()
    return TrioResponse(b32encode(caller.tenant.tenant_id) + f" {caller.principal.name}")


async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


def register(app: ApiApp) -> None:
    app.register_route("/v1/tenants/<tenant>/name", show_tenant, action=Action.SPAN_READ, docs=Docs())
    app.register_route("/v1/tenants/<tenant>/echo", echo, action=Action.SPAN_READ, docs=Docs(), is_websocket=True)


@pytest.fixture
def app(services: Services) -> ApiApp:
    return create_app(services, [about.register, register])


async def upgrade(app: ApiApp, path: str, headers: dict[str, str], scope: Any = TCP) -> str | None:
    """The code with which an upgrade is refused; None when the socket works."""
    async with app.test_client().websocket(path, headers=headers, scope_base=scope) as socket:
        try:
            await socket.send("hello")
            assert await socket.receive() == "hello"
        except WebsocketResponseError as refused:
            body: Any = refused.response.response
            return str((await app.response_class(body.data).get_json(force=True))["code"])
    return None


@pytest.mark.parametrize(("scope", "host", "origin", "code"), CASES)
async def test_only_names_of_this_node_get_in(
    app: ApiApp, token: dict[str, str], scope: Any, host: str | None, origin: str | None, code: str | None
) -> None:
    headers = token | ({} if host is None else {"Host": host}) | ({} if origin is None else {"Origin": origin})
    if host is None:
        scope = {**scope, "headers": [(b"authorization", token["Authorization"].encode())]}

    answer = await app.test_client().get("/v1/tenants/default/name", headers=headers, scope_base=scope)

    assert answer.status_code == (200 if code is None else 403)
    if code is not None:
        assert (await answer.get_json())["code"] == code
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
    assert await upgrade(app, "/v1/tenants/default/echo", headers, scope) == code


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
async def test_public_paths_check_host_and_origin_too(app: ApiApp, path: str) -> None:
    client = app.test_client()

    assert (await client.get(path)).status_code == 200
    assert (await client.get(path, headers={"Host": "evil.example"})).status_code == 403
    assert (await client.get(path, headers={"Origin": "http://evil.example"})).status_code == 403


async def test_two_host_headers_are_refused(app: ApiApp, token: dict[str, str]) -> None:
    headers = [(b"host", b"localhost"), (b"host", b"localhost"), (b"authorization", token["Authorization"].encode())]

    answer = await app.test_client().get("/v1/node", scope_base={"headers": headers})

    assert (await answer.get_json())["code"] == "host.forbidden"


async def test_a_url_as_target_is_refused(app: ApiApp, token: dict[str, str]) -> None:
    answer = await app.test_client().get("/v1/node", headers=token, scope_base={"path": "http://evil.example/v1/node"})

    assert (await answer.get_json())["code"] == "host.forbidden"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "token.missing"),
        ("", "token.wrong"),
        ("Bearer", "token.wrong"),
        ("Bearer ", "token.wrong"),
        ("Bearer a-token-of-the-test", "token.wrong"),
        ("Bearer a-token-of-the-tests2", "token.wrong"),
        ("Bearer A-TOKEN-OF-THE-TESTS", "token.wrong"),
        ("Basic a-token-of-the-tests", "token.wrong"),
        ("a-token-of-the-tests", "token.wrong"),
        ("Bearer \u00e9", "token.wrong"),
        ("Bearer a-token-of-the-tests", None),
        ("bearer a-token-of-the-tests", None),
    ],
)
async def test_only_the_token_gets_in(app: ApiApp, value: str | None, code: str | None) -> None:
    headers = {} if value is None else {"Authorization": value}

    answer = await app.test_client().get("/v1/node", headers=headers)

    assert answer.status_code == (200 if code is None else 401)
    if code is not None:
        assert (await answer.get_json())["code"] == code
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="lognode"'
    assert await upgrade(app, "/v1/tenants/default/echo", headers) == code


async def test_a_path_without_a_route_tells_nothing_without_a_token(app: ApiApp) -> None:
    answer = await app.test_client().get("/v1/no-such-route")

    assert answer.status_code == 401


async def test_host_is_checked_before_origin_and_both_before_the_token(app: ApiApp) -> None:
    client = app.test_client()
    wrong = {"Host": "evil.example", "Origin": "http://evil.example", "Authorization": "Bearer wrong"}

    codes = []
    for name in ("Host", "Origin", "Authorization"):
        answer = await client.get("/v1/tenants/unknown/name", headers=wrong)
        codes.append((await answer.get_json())["code"])
        del wrong[name]

    assert codes == ["host.forbidden", "origin.forbidden", "token.wrong"]


async def test_a_tenant_is_found_by_name_and_by_id(app: ApiApp, token: dict[str, str], services: Services) -> None:
    tenant_id = b32encode(services.store.tenants["default"].tenant_id)
    client = app.test_client()

    for name in ("default", tenant_id):
        answer = await client.get(f"/v1/tenants/{name}/name", headers=token)
        assert await answer.get_data(as_text=True) == f"{tenant_id} admin"


@pytest.mark.parametrize("name", ["unknown", "DEFAULT", "default%00", "..", "0" * 32, "\u00e9"])
async def test_unknown_tenants_answer_alike(app: ApiApp, token: dict[str, str], name: str) -> None:
    first = await app.test_client().get("/v1/tenants/nobody/name", headers=token)
    answer = await app.test_client().get(f"/v1/tenants/{name}/name", headers=token)

    assert answer.status_code == 404
    assert await answer.get_data() == await first.get_data()
    assert list(answer.headers) == list(first.headers)
    assert (await answer.get_json())["code"] == "tenant.unknown"


async def test_a_tenant_without_the_right_answers_like_an_unknown_one(services: Services) -> None:
    tenant = services.store.tenants["default"]
    stranger = Principal("stranger", logline(LogLineKind.PERSON, bytes(32)))
    viewer = Principal("viewer", logline(LogLineKind.PERSON, bytes(32)), roles={tenant.tenant_id: Role.VIEWER})

    assert resolve_tenant(services, viewer, "default", Action.SPAN_READ) == tenant
    problems = []
    for principal, name in ((stranger, "default"), (viewer, "default"), (None, "default"), (viewer, "unknown")):
        with pytest.raises(CallerError) as refused:
            resolve_tenant(services, principal, name, Action.SPAN_APPEND)
        problems.append(refused.value.problem())

    assert [problem == problems[0] for problem in problems] == [True] * 4
    assert problems[0]["code"] == "tenant.unknown"
