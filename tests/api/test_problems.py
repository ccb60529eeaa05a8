"""Every refusal and every failure is a problem body, whatever went wrong."""

import sqlite3
from contextlib import closing
from typing import Any

import msgspec
import pytest
import trio
from quart import request, websocket
from quart.testing.connections import WebsocketDisconnectError, WebsocketResponseError
from quart_trio.wrappers import TrioResponse
from structlog.testing import capture_logs

from lognode.api.app import ApiApp, Docs, create_app
from lognode.api.server.door.problems import PROBLEM_MEDIA, error_of, problem_response
from lognode.api.services import Services
from lognode.core.access import Action
from lognode.core.errors import ERRORS, CallerError, LognodeError, NodeFault

SECRET = "what no caller may see"
RAISED: dict[str, BaseException] = {
    "busy": CallerError("writer.busy", "5 spans wait", retry_after_s=3),
    "line": CallerError("json.malformed", "no object", place="line 5000", extra={"line": 5000, "appended": 4999}),
    "full": NodeFault("disk.full"),
    "bug": RuntimeError(SECRET),
    "group": ExceptionGroup("g", [ExceptionGroup("h", [CallerError("span.unknown")])]),
    "mixed": ExceptionGroup("g", [RuntimeError(SECRET), CallerError("span.unknown")]),
    "unreadable": sqlite3.DatabaseError("database disk image is malformed"),
    "unreadable group": ExceptionGroup("g", [RuntimeError(SECRET), sqlite3.DatabaseError("malformed")]),
    "misused": sqlite3.ProgrammingError(SECRET),
    "bugs": ExceptionGroup("g", [RuntimeError(SECRET), KeyError(SECRET)]),
}


async def fail(name: str) -> TrioResponse:
    raise RAISED[name]


async def fail_socket(name: str) -> None:
    if websocket.args.get("accept"):
        await websocket.accept()
    raise RAISED[name]


async def fail_in_nursery() -> TrioResponse:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise CallerError("span.unknown")


async def read_body() -> TrioResponse:
    body: Any = request.body
    return TrioResponse(str(len(await body.read(1000))))


def register(app: ApiApp) -> None:
    app.register_route("/v1/fail/<name>", fail, action=Action.NODE_READ, docs=Docs())
    app.register_route("/v1/fail-socket/<name>", fail_socket, action=Action.NODE_READ, docs=Docs(), is_websocket=True)
    app.register_route("/v1/nursery", fail_in_nursery, action=Action.NODE_READ, docs=Docs())
    app.register_route("/v1/body", read_body, methods=("POST",), action=Action.NODE_READ, docs=Docs())


@pytest.fixture
def app(services: Services) -> ApiApp:
    return create_app(services, [register])


async def problem_at(app: ApiApp, token: dict[str, str], path: str, method: str = "GET") -> dict[str, Any]:
    """The problem that a request meets, checked for what all problems have."""
    client: Any = app.test_client()
    answer = await client.open(path, method=method, headers=token)
    problem: dict[str, Any] = await answer.get_json(force=True)
    assert answer.content_type == PROBLEM_MEDIA
    assert answer.status_code == problem["status"] == ERRORS[problem["code"]].status
    assert problem["type"] == f"urn:lognode:error:{problem['code']}"
    assert problem["hint"]
    return problem


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_of_the_table_has_a_problem(code: str) -> None:
    response = problem_response(LognodeError(code, "a detail"))
    problem = msgspec.json.decode(response.response.data)  # type: ignore[attr-defined]

    assert response.status_code == ERRORS[code].status == problem["status"]
    assert problem["title"] == ERRORS[code].title
    assert problem["detail"] == "a detail"
    assert problem["retryable"] is ERRORS[code].retryable
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)


def test_what_an_error_adds_never_replaces_what_every_problem_has() -> None:
    problem = CallerError("span.unknown", extra={"code": "other", "status": 200, "line": 7}).problem()

    assert (problem["code"], problem["status"], problem["line"]) == ("span.unknown", 404, 7)


async def test_a_problem_says_where_and_when_to_come_back(app: ApiApp, token: dict[str, str]) -> None:
    line = await problem_at(app, token, "/v1/fail/line")
    busy = await app.test_client().get("/v1/fail/busy", headers=token)

    assert (line["place"], line["line"], line["appended"]) == ("line 5000", 5000, 4999)
    assert busy.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/v1/none", "GET", "route.unknown"),
        ("/v1//fail/busy", "GET", "route.unknown"),
        ("/v1/fail/busy/", "GET", "route.unknown"),
        ("/", "GET", "route.unknown"),
        ("/v1/fail/busy", "POST", "method.not_allowed"),
        ("/v1/fail/busy", "OPTIONS", "method.not_allowed"),
        ("/v1/fail/busy", "BREW", "method.not_allowed"),
        ("/v1/fail-socket/busy", "GET", "request.malformed"),
        ("/v1/fail/full", "GET", "disk.full"),
        ("/v1/fail/group", "GET", "span.unknown"),
        ("/v1/fail/mixed", "GET", "span.unknown"),
        ("/v1/fail/unreadable", "GET", "database.damaged"),
        ("/v1/fail/unreadable group", "GET", "database.damaged"),
        ("/v1/fail/misused", "GET", "node.internal"),
        ("/v1/nursery", "GET", "span.unknown"),
    ],
)
async def test_a_failing_request_gets_its_problem(
    app: ApiApp, token: dict[str, str], path: str, method: str, code: str
) -> None:
    assert (await problem_at(app, token, path, method))["code"] == code


async def test_the_allow_header_names_the_methods(app: ApiApp, token: dict[str, str]) -> None:
    answer = await app.test_client().post("/v1/fail/busy", headers=token)

    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("name", ["bug", "bugs"])
async def test_a_bug_is_logged_and_shown_to_nobody(app: ApiApp, token: dict[str, str], name: str) -> None:
    with capture_logs() as logs:
        problem = await problem_at(app, token, f"/v1/fail/{name}")

    assert problem["code"] == "node.internal"
    assert SECRET not in str(problem)
    assert "Traceback" not in str(problem)
    assert [entry["exc_info"] for entry in logs] == [RAISED[name]]


async def test_a_body_of_unexpected_size_is_refused(app: ApiApp, token: dict[str, str]) -> None:
    client = app.test_client()

    assert await (await client.post("/v1/body", headers=token, data=b"x" * 1000)).get_data() == b"1000"
    for headers in (token, token | {"Content-Length": "1001"}):
        answer = await client.post("/v1/body", headers=headers, data=b"x" * 1001)
        assert (await answer.get_json(force=True))["code"] == "request.too_large"


async def test_a_socket_that_fails_before_it_is_open_gets_a_problem(app: ApiApp, token: dict[str, str]) -> None:
    async with app.test_client().websocket("/v1/fail-socket/full", headers=token) as socket:
        with pytest.raises(WebsocketResponseError) as refused:
            await socket.receive()

    response: Any = refused.value.response
    assert response.status_code == 507
    assert msgspec.json.decode(response.response.data)["code"] == "disk.full"


@pytest.mark.parametrize("name", ["full", "bug"])
async def test_a_socket_that_fails_when_open_is_closed_with_a_code(
    app: ApiApp, token: dict[str, str], name: str
) -> None:
    async with app.test_client().websocket(f"/v1/fail-socket/{name}?accept=1", headers=token) as socket:
        with pytest.raises(WebsocketDisconnectError) as closed:
            await socket.receive()

    assert closed.value.args == (1011,)


def test_a_write_that_finds_no_room_is_no_damage() -> None:
    """Such as that of a tenant's name, by joining."""
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE names (name TEXT)")
        conn.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as full:
            conn.execute("INSERT INTO names VALUES (?)", ("x" * 10_000,))

    assert error_of(full.value).code == "disk.full"
