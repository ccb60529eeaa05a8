"""GET /metrics: what the API counts, in formats that Prometheus reads, for the holder of the token alone."""

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio
import trio.testing
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from lognode.api.about import metrics as metrics_module
from lognode.api.about import routes as about
from lognode.api.app import ApiApp, create_app
from lognode.api.live import events, socket
from lognode.api.server import serve as serve_module
from lognode.api.services import Services
from lognode.api.spans import append, reads
from lognode.core.ids import b32encode
from lognode.core.limits import READERS
from tests.api.sample import connect, serving
from tests.api.serving import SPANS, EventClient, SocketClient, append_kinds, http_client, tenant_of
from tests.daemon import Daemon

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What Prometheus 3 sends.
ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def app(services: Services) -> ApiApp:
    modules: list[Any] = [about, metrics_module, append, reads, events, socket]
    return create_app(services, [module.register for module in modules])


def samples_of(text: str, parse: Callable[[str], Any] = parse_text) -> Samples:
    """The value of each series, by its name and labels."""
    found = [sample for family in parse(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}


async def scrape(app: ApiApp) -> Samples:
    token = app.services.admin_token.decode()
    answer = await app.test_client().get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    return samples_of(await answer.get_data(as_text=True))


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def wait_until(app: ApiApp, name: str, expected: float) -> None:
    with trio.fail_after(20):
        while value(await scrape(app), name) != expected:  # noqa: ASYNC110 - what is counted wakes nobody
            await trio.sleep(0.01)


async def test_only_the_token_sees_them(app: ApiApp) -> None:
    for headers, code in (({}, "token.missing"), ({"Authorization": "Bearer wrong"}, "token.wrong")):
        answer = await app.test_client().get("/metrics", headers=headers)
        assert answer.status_code == 401
        assert (await answer.get_json())["code"] == code


@pytest.mark.parametrize(
    ("accept", "media", "parse"),
    [("", TEXT, parse_text), ("*/*", TEXT, parse_text), (ACCEPT, OPENMETRICS, parse_openmetrics)],
)
async def test_the_reader_chooses_the_format(
    app: ApiApp, token: dict[str, str], accept: str, media: str, parse: Callable[[str], Any]
) -> None:
    answer = await app.test_client().get("/metrics", headers=token | {"Accept": accept})

    assert answer.headers["Content-Type"].removesuffix("; escaping=allow-utf-8") == media
    assert value(samples_of(await answer.get_data(as_text=True), parse), "lognode_appended_spans_total") == 2


async def test_requests_are_counted_by_route_method_and_class_of_status(app: ApiApp, token: dict[str, str]) -> None:
    client: Any = app.test_client()
    for path, method in ((SPANS, "GET"), (SPANS, "GET"), (f"{SPANS}?limit=no", "GET"), (SPANS, "POST"), (SPANS, "PUT")):
        await client.open(path, method=method, headers=token)
    samples = await scrape(app)

    name, route = "lognode_http_request_duration_seconds_count", "/v1/tenants/{tenant}/spans"
    assert value(samples, name, route=route, method="GET", status="2xx") == 2
    assert value(samples, name, route=route, method="GET", status="4xx") == 1
    assert value(samples, name, route=route, method="POST", status="4xx") == 1
    assert value(samples, name, route="none", method="none", status="4xx") == 1


async def test_what_strangers_send_makes_no_series(app: ApiApp, token: dict[str, str]) -> None:
    client: Any = app.test_client()
    await client.get(SPANS, headers=token)
    before = set(await scrape(app))
    for number in range(3):
        await client.open(f"/nowhere/{number}", method=f"VERB{number}", headers=token)
        await client.open(f"/v1/tenants/tenant{number}/spans", method="GET", headers=token)
        await client.open(SPANS, method=f"VERB{number}")
    added = {labels for _, labels in set(await scrape(app)) - before}

    assert {dict(labels).get("route") for labels in added if "method" in dict(labels)} == {
        "none",
        "/v1/tenants/{tenant}/spans",
        "/metrics",
    }
    assert not [labels for labels in added for _, text in labels if "VERB" in text or "tenant0" in text]


async def test_errors_are_counted_by_code_also_those_of_frames(services: Services, app: ApiApp) -> None:
    async with serving(app) as url, http_client(services, url) as http:
        await http.get(f"{SPANS}?limit=no")
        await http.get(f"{SPANS}?limit=no")
        async with await SocketClient.connect(services, url) as client:
            await client.ask(type="append", ref=1, draft={"kind": "Not a kind"})
            assert (await client.receive())["type"] == "error"
        samples = await scrape(app)

    assert value(samples, "lognode_errors_total", code="filter.invalid", blame="caller") == 2
    assert value(samples, "lognode_errors_total", code="kind.invalid", blame="caller") == 1
    assert value(samples, "lognode_errors_total", code="node.internal", blame="node") == 0


async def test_what_is_open_is_counted_and_forgotten(services: Services, app: ApiApp) -> None:
    async with serving(app) as url:
        stream = await EventClient.connect(services, url, None, {})
        async with await SocketClient.connect(services, url) as client:
            await client.ask(type="subscribe", ref=1)
            assert (await client.receive())["type"] == "subscribed"
            await wait_until(app, "lognode_tails", 2)
            samples = await scrape(app)
            assert value(samples, "lognode_websockets") == 1
            assert value(samples, "lognode_connections") == 2
            await client.ask(type="unsubscribe", ref=1)
            await wait_until(app, "lognode_tails", 1)
        await stream.aclose()
        for name in ("lognode_tails", "lognode_websockets", "lognode_connections"):
            await wait_until(app, name, 0)


async def test_a_connection_too_many_is_counted(app: ApiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "CONNECTIONS_MAX", 1)
    async with serving(app) as url, await connect(url), await connect(url):
        await wait_until(app, "lognode_connections_refused_total", 1)


async def test_the_disk_is_measured_when_it_is_asked(
    services: Services, app: ApiApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append_kinds(services, "note")
    samples = await scrape(app)
    wal = services.store.path.with_name("lognode.db-wal")
    assert value(samples, "lognode_database_bytes") == services.store.path.stat().st_size
    assert value(samples, "lognode_wal_bytes") == wal.stat().st_size > 0
    assert value(samples, "lognode_disk_free_bytes") > 0

    def refuse(_folder: Path) -> int:
        raise PermissionError

    monkeypatch.setattr(metrics_module, "free_bytes", refuse)
    samples = await scrape(app)
    assert math.isnan(value(samples, "lognode_disk_free_bytes"))
    assert value(samples, "lognode_database_bytes") > 0


async def test_a_disk_that_hangs_does_not_hold_the_answer(app: ApiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), []

    def hang(_folder: Path) -> int:
        begun.append(1)
        gate.wait()
        return 0

    monkeypatch.setattr(metrics_module, "free_bytes", hang)
    monkeypatch.setattr(metrics_module, "READY_S_MAX", 0.1)
    try:
        for _ in range(3):
            assert math.isnan(value(await scrape(app), "lognode_database_bytes"))
        assert len(begun) == 1  # thread
    finally:
        gate.set()


async def test_reads_that_wait_are_seen(services: Services, app: ApiApp) -> None:
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(READERS + 2):
            nursery.start_soon(services.store.read, lambda _conn: gate.wait())
        try:
            await wait_until(app, "lognode_reads_waiting", 2)
        finally:
            gate.set()
    assert value(await scrape(app), "lognode_reads_waiting") == 0


async def test_subsystems_are_shown_by_sort_and_state(services: Services, app: ApiApp) -> None:
    supervisor = services.supervisor
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for name in ("search.one", "search.other"):
            supervisor.start(name, trio.sleep_forever)
        supervisor.switch_off("api")
        await trio.testing.wait_all_tasks_blocked()
        samples = await scrape(app)
        shown = {("search", "running"): 2, ("search", "waiting"): 0, ("search", "off"): 0, ("api", "off"): 1}
        for (sort, state), count in shown.items():
            assert value(samples, "lognode_subsystems", subsystem=sort, state=state) == count
        await supervisor.stop("search")
        labels = frozenset({"subsystem": "search", "state": "running"}.items())
        assert ("lognode_subsystems", labels) not in await scrape(app)
        nursery.cancel_scope.cancel()


async def test_nothing_of_a_tenant_and_no_secret_is_in_them(services: Services, app: ApiApp) -> None:
    async with serving(app) as url, http_client(services, url) as http:
        await http.post(SPANS, json={"kind": "hidden.kind", "title": "hidden title", "tags": ["hidden"]})
        await http.get(f"/v1/tenants/{b32encode(tenant_of(services).tenant_id)}/spans?kind=hidden.kind")
        text = (await http.get("/metrics")).text

    for secret in (services.admin_token.decode(), b32encode(tenant_of(services).tenant_id), "default", "hidden"):
        assert secret not in text


def test_a_daemon_shows_what_was_appended_and_how_its_process_is(daemon: Daemon) -> None:
    with daemon.client() as http:
        before = samples_of(http.get("/metrics").text)
        body = "".join(f'{{"kind":"note","title":"{number}"}}\n' for number in range(1234))
        http.post(SPANS, content=body, headers={"Content-Type": "application/x-ndjson"}).raise_for_status()
        after = samples_of(http.get("/metrics").text)

    name = "lognode_appended_spans_total"
    assert value(after, name) - value(before, name) == 1234
    assert value(after, "process_resident_memory_bytes") > 0
    (build,) = [dict(labels) for series, labels in after if series == "lognode_build_info"]
    assert build.keys() == {"version", "python", "sqlite"}
    assert httpx.get(f"{daemon.url}/metrics", trust_env=False).status_code == 401
