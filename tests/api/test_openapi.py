"""The description of the API: complete, valid, and shown without asking anybody else."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import pytest
import trio
import trio.testing

from lognode.api.app import ApiApp, Docs, create_app
from lognode.api.server.door.access import PUBLIC_PATHS
from lognode.api.services import Services
from lognode.core.access import Action
from lognode.core.errors import ERRORS
from lognode.core.limits import DISK_FREE_BYTES_MIN
from lognode.node import REGISTRATIONS

TENANT: Final = "/v1/tenants/{tenant}"
# Exactly these.
OPERATIONS: Final = {
    ("get", "/livez"),
    ("get", "/metrics"),
    ("get", "/readyz"),
    ("get", "/v1/docs"),
    ("get", "/v1/node"),
    ("get", "/v1/openapi.json"),
    ("get", f"{TENANT}/bundle"),
    ("get", f"{TENANT}/checkpoints/latest"),
    ("get", f"{TENANT}/policy"),
    ("get", f"{TENANT}/live"),
    ("get", f"{TENANT}/spans"),
    ("get", f"{TENANT}/spans/{{span_id}}"),
    ("get", f"{TENANT}/spans/{{span_id}}/causes"),
    ("get", f"{TENANT}/spans/{{span_id}}/effects"),
    ("get", f"{TENANT}/spans/{{span_id}}/relation/{{other}}"),
    ("get", f"{TENANT}/spans/{{span_id}}/proof"),
    ("get", f"{TENANT}/forks"),
    ("get", f"{TENANT}/forks/{{feed}}"),
    ("get", f"{TENANT}/forks/{{feed}}/proof"),
    ("get", f"{TENANT}/forks/{{feed}}/branches/{{tip}}"),
    ("get", f"{TENANT}/subjects"),
    ("get", f"{TENANT}/subjects/{{subject}}"),
    ("get", f"{TENANT}/conflicts"),
    ("post", f"{TENANT}/conflicts/resolve"),
    ("get", f"{TENANT}/approvals"),
    ("get", f"{TENANT}/approvals/{{approval}}"),
    ("post", f"{TENANT}/approvals/{{approval}}/grant"),
    ("post", f"{TENANT}/approvals/{{approval}}/deny"),
    ("get", f"{TENANT}/tasks"),
    ("post", f"{TENANT}/tasks"),
    ("get", f"{TENANT}/tasks/{{task}}"),
    ("post", f"{TENANT}/tasks/{{task}}/cancel"),
    ("post", f"{TENANT}/tasks/{{task}}/retry"),
    ("post", f"{TENANT}/tasks/pause"),
    ("post", f"{TENANT}/tasks/resume"),
    ("post", f"{TENANT}/tasks/drain"),
    ("get", f"{TENANT}/schedules"),
    ("post", f"{TENANT}/schedules"),
    ("get", f"{TENANT}/schedules/{{schedule}}"),
    ("delete", f"{TENANT}/schedules/{{schedule}}"),
    ("post", f"{TENANT}/schedules/{{schedule}}/pause"),
    ("post", f"{TENANT}/schedules/{{schedule}}/resume"),
    ("get", f"{TENANT}/subscriptions"),
    ("post", f"{TENANT}/subscriptions"),
    ("get", f"{TENANT}/subscriptions/{{name}}"),
    ("delete", f"{TENANT}/subscriptions/{{name}}"),
    ("get", f"{TENANT}/subscriptions/{{name}}/parked"),
    ("post", f"{TENANT}/subscriptions/{{name}}/replay"),
    ("post", f"{TENANT}/subscriptions/{{name}}/reset"),
    ("post", f"{TENANT}/subscriptions/{{name}}/ack"),
    ("post", f"{TENANT}/subscriptions/{{name}}/retry"),
    ("post", f"{TENANT}/subscriptions/{{name}}/park"),
    ("get", f"{TENANT}/subscriptions/{{name}}/stream"),
    ("get", f"{TENANT}/subscriptions/{{name}}/ws"),
    ("get", f"{TENANT}/policies"),
    ("put", f"{TENANT}/policies/{{kind}}"),
    ("post", f"{TENANT}/spans/{{span_id}}/revert"),
    ("post", f"{TENANT}/state/rebuild"),
    ("get", f"{TENANT}/rules"),
    ("post", f"{TENANT}/rules"),
    ("get", f"{TENANT}/rules/{{rule_set}}"),
    ("delete", f"{TENANT}/rules/{{rule_set}}"),
    ("get", f"{TENANT}/rules/{{rule_set}}/versions"),
    ("get", f"{TENANT}/rules/{{rule_set}}/diff"),
    ("get", f"{TENANT}/spans/{{span_id}}/decision"),
    ("get", f"{TENANT}/spans/{{span_id}}/decision/{{rule_set}}/{{rule}}"),
    ("post", f"{TENANT}/backtest"),
    ("post", f"{TENANT}/rules/{{rule_set}}/rollback"),
    ("get", f"{TENANT}/stats"),
    ("get", f"{TENANT}/peers"),
    ("get", f"{TENANT}/sync"),
    ("get", f"{TENANT}/ws"),
    ("delete", f"{TENANT}/invites/{{invite}}"),
    ("delete", f"{TENANT}/members/{{node}}"),
    ("get", f"{TENANT}/invites"),
    ("get", f"{TENANT}/members"),
    ("get", f"{TENANT}/members/pending"),
    ("patch", f"{TENANT}/members/{{node}}"),
    ("post", f"{TENANT}/invites"),
    ("post", f"{TENANT}/members/pending/{{node}}"),
    ("post", "/v1/node/join"),
    ("post", f"{TENANT}/spans"),
    ("post", f"{TENANT}/sync"),
}


@pytest.fixture
def app(services: Services) -> ApiApp:
    return create_app(services, REGISTRATIONS)


@pytest.fixture
async def document(app: ApiApp) -> dict[str, Any]:
    answer = await app.test_client().get("/v1/openapi.json")
    assert answer.content_type == "application/json"
    found: dict[str, Any] = await answer.get_json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def schemas(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "schema" in value:
            yield value["schema"]
        for item in value.values():
            yield from schemas(item)
    elif isinstance(value, list):
        for item in value:
            yield from schemas(item)


async def test_the_document_has_the_routes_of_the_node_and_no_others(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert {(method, path) for method, path, _ in operations(document)} == OPERATIONS


async def test_every_route_but_the_public_ones_has_an_action(app: ApiApp, document: dict[str, Any]) -> None:
    assert {route.rule for route in app.routes.values() if route.action is None} == PUBLIC_PATHS
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(app.routes)
    for _, path, operation in operations(document):
        assert ("x-lognode-action" in operation) == (path not in PUBLIC_PATHS)
        assert (operation.get("security") == []) == (path in PUBLIC_PATHS)


async def test_a_route_without_an_action_cannot_be_registered(app: ApiApp) -> None:
    async def show() -> None: ...

    with pytest.raises(AssertionError, match="only public paths"):
        app.register_route("/v1/open", show, action=None, docs=Docs())
    with pytest.raises(AssertionError, match="only public paths"):
        app.register_route("/livez", show, action=Action.NODE_READ, docs=Docs())


async def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    found = set(references(document))

    assert found
    for reference in found:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target


async def test_every_schema_is_a_schema(document: dict[str, Any]) -> None:
    for schema in (*schemas(document["paths"]), *document["components"]["schemas"].values()):
        jsonschema_rs.meta.validate(schema)


async def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert "default" in operation["responses"], path
        assert all(parameter["description"] for parameter in operation["parameters"]), path
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


async def test_the_problem_names_every_code(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["ProblemJson"]

    assert problem["properties"]["code"]["enum"] == sorted(ERRORS)


@pytest.mark.parametrize("path", ["/v1/node", "/livez", "/readyz"])
async def test_answers_are_as_described(
    app: ApiApp, token: dict[str, str], document: dict[str, Any], path: str
) -> None:
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]

    answer = await app.test_client().get(path, headers=token)

    assert answer.status_code == 200
    jsonschema_rs.validate({**content["schema"], "components": document["components"]}, await answer.get_json())


async def test_the_node_tells_its_name_and_its_tenants(app: ApiApp, token: dict[str, str]) -> None:
    node = await (await app.test_client().get("/v1/node", headers=token)).get_json()

    assert node["node"].startswith("logline-id://node/")
    assert [(tenant["alias"], tenant["position"]) for tenant in node["tenants"]] == [("default", 2)]


async def test_the_page_loads_nothing_from_elsewhere(app: ApiApp) -> None:
    answer = await app.test_client().get("/v1/docs")
    page = await answer.get_data(as_text=True)
    policy = answer.headers["Content-Security-Policy"]

    assert answer.content_type.startswith("text/html")
    assert not re.findall(r"https?://|\bsrc=|@import|\burl\(|innerHTML|\son\w+=", page)
    assert page.count("<script>") == page.count("<style>") == 1
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2


async def test_a_node_that_cannot_write_is_alive_but_not_ready(app: ApiApp, services: Services) -> None:
    await services.store.write(sqlite3.Connection.execute, "DROP TABLE heartbeat")
    client = app.test_client()

    ready = await client.get("/readyz")

    assert (await client.get("/livez")).status_code == 200
    assert ready.status_code == 503
    assert (await ready.get_json(force=True))["code"] == "node.not_ready"
    assert "heartbeat" not in await ready.get_data(as_text=True)
    assert ready.headers["Retry-After"] == "1"


async def test_a_node_with_a_full_disk_is_not_ready(app: ApiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.api.about.readiness.DISK_FREE_BYTES_MIN", DISK_FREE_BYTES_MIN << 40)

    assert (await app.test_client().get("/readyz")).status_code == 503


async def test_a_node_whose_disk_hangs_says_so_in_time(
    app: ApiApp, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.api.about.readiness.READY_S_MAX", 0.2)
    gate = threading.Event()
    client = app.test_client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.store.write, lambda _conn: gate.wait())
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            assert (await client.get("/readyz")).status_code == 503
        gate.set()
    monkeypatch.undo()
    assert (await client.get("/readyz")).status_code == 200


async def test_many_who_ask_cost_one_write(app: ApiApp, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.api.about.readiness.VALID_S", 1000)
    client = app.test_client()
    before = await services.store.write(lambda conn: conn.total_changes)
    for _ in range(20):
        assert (await client.get("/readyz")).status_code == 200

    assert await services.store.write(lambda conn: conn.total_changes) - before == 1


async def test_a_node_that_stops_is_not_ready(app: ApiApp, services: Services) -> None:
    services.stopping.set()
    ready = await app.test_client().get("/readyz")

    assert (await ready.get_json(force=True))["code"] == "node.stopping"
