"""POST .../spans?dry_run=true: it foretells what the append then does, and writes nothing."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.limits import UPLOAD_SPANS_MAX
from lognode.engine.service.writing import rehearsal
from tests.api.serving import NDJSON, SPANS, TENANT, code_of, http_client, lines, serve

DRY: Final = {"dry_run": "true"}
JSON: Final = {"Content-Type": "application/json"}


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


def draft(number: int, **more: Any) -> bytes:
    return json.dumps({"kind": "test.line", "data": {"n": number}, **more}).encode() + b"\n"


KEYED: Final = b"".join(draft(number, idempotency_key=f"key {number}") for number in range(10))
FAR: Final = lines(0, UPLOAD_SPANS_MAX + 5)  # what follows is in another commit
STREAMS: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "new lines": lines(0, 2500),
    "blank lines": b"\n\n" + lines(0, 2) + b"\r\n",
    "a bad line": lines(0, 1500) + b"{}\n" + lines(0, 5),
    "a reserved kind": lines(0, 5) + b'{"kind":"feed.open"}\n',
    "lines that are there": KEYED,
    "lines that are there and new ones": KEYED + lines(0, 5) + draft(10, idempotency_key="key 10"),
    "a key of a line that is there, for other content": lines(0, 3) + draft(9, idempotency_key="key 3"),
    "one key twice": draft(1, idempotency_key="new") * 2,
    "one key twice, far apart": draft(1, idempotency_key="new") + FAR + draft(1, idempotency_key="new"),
    "one key for two": draft(1, idempotency_key="new") + draft(2, idempotency_key="new"),
    "one key for two, far apart": draft(1, idempotency_key="new") + FAR + draft(2, idempotency_key="new"),
}
TOLD: Final = ("lines", "appended", "duplicates", "code", "detail", "place", "line")


async def state(services: Services, http: httpx.AsyncClient) -> tuple[object, ...]:
    """What a tenant amounts to, and all bytes of its database."""
    stats = (await http.get(f"{TENANT}/stats")).json()
    path = services.store.path
    return stats, path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()


@pytest.mark.parametrize("name", STREAMS)
async def test_a_dry_run_foretells_what_a_stream_comes_to_and_writes_nothing(
    services: Services, http: httpx.AsyncClient, name: str
) -> None:
    await http.post(SPANS, content=KEYED, headers=NDJSON)
    before = await state(services, http)

    dry = await http.post(SPANS, content=STREAMS[name], headers=NDJSON, params=DRY)
    after = await state(services, http)
    real = await http.post(SPANS, content=STREAMS[name], headers=NDJSON)

    assert after == before
    told, came = dry.json(), real.json()
    assert [told.get(field) for field in TOLD] == [came.get(field) for field in TOLD]
    assert told.get("last") is None
    assert dry.status_code == (200 if real.is_success else real.status_code)
    assert (told.get("dry_run"), came.get("dry_run")) == (True if real.is_success else None, None)


ASKING: Final = b"""rules: asking
do:
  - id: ask
    on: draft
    kinds: [test.line]
    if: {equals: {data.n: 3}}
    then: [{require_approval: {role: root, within: 1h, text: "{data.n}?"}}]
  - id: never
    on: draft
    kinds: [test.line]
    if: {equals: {data.n: 7}}
    then: [{reject: "seven"}]
"""
ASKED: Final[Mapping[str, bytes]] = {
    "lines of which one waits": lines(0, 5),
    "one that waits already, and one that waits anew": draft(3, idempotency_key="asked") + draft(3),
    "one twice": draft(3, idempotency_key="twice") * 2 + draft(1, idempotency_key="once") * 2,
    "one twice, far apart": draft(3, idempotency_key="twice") + lines(10, UPLOAD_SPANS_MAX + 15)
    + draft(3, idempotency_key="twice"),
    "one that waits before one that is refused": lines(2, 10),
    "one that is refused before a key for two": draft(1, idempotency_key="k")
    + draft(7)
    + draft(2, idempotency_key="k"),
    "another under the key of one that waits": lines(0, 2) + draft(4, idempotency_key="asked"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
async def test_a_dry_run_foretells_what_would_wait_for_approval(http: httpx.AsyncClient, name: str) -> None:
    await http.post(f"{TENANT}/rules", content=ASKING, headers={"Content-Type": "application/yaml"})
    waiting = await http.post(SPANS, content=draft(3, idempotency_key="asked"), headers=JSON)
    assert waiting.status_code == 202

    dry = await http.post(SPANS, content=ASKED[name], headers=NDJSON, params=DRY)
    real = await http.post(SPANS, content=ASKED[name], headers=NDJSON)

    told, came = dry.json(), real.json()
    fields = (*TOLD, "held")
    assert [told.get(field) for field in fields] == [came.get(field) for field in fields]
    single = await http.post(SPANS, content=draft(3), headers=JSON, params=DRY)
    assert (single.json()["appended"], single.json()["duplicates"], single.json()["held"]) == (0, 0, 1)


async def test_a_dry_run_foretells_what_one_draft_comes_to_and_writes_nothing(
    services: Services, http: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "one", **JSON}
    before = await state(services, http)
    new = await http.post(SPANS, content=draft(1), headers=key, params=DRY)
    assert await state(services, http) == before
    await http.post(SPANS, content=draft(1), headers=key)
    again = await http.post(SPANS, content=draft(1), headers=key, params=DRY)
    other = await http.post(SPANS, content=draft(2), headers=key, params=DRY)
    bad = await http.post(SPANS, content=b'{"kind":"A"}', headers=key, params=DRY)

    empty = {"lines": 1, "first": None, "last": None, "checkpoint_size": 0, "dry_run": True}
    assert (new.status_code, new.json()) == (200, {**empty, "appended": 1, "duplicates": 0})
    assert (again.status_code, again.json()) == (200, {**empty, "appended": 0, "duplicates": 1})
    assert [code_of(answer) for answer in (other, bad)] == ["idempotency.mismatch", "kind.invalid"]


async def test_a_dry_run_remembers_so_many_keys_and_then_says_so(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "REHEARSED_KEYS_MAX", 20)
    body = b"".join(draft(number, idempotency_key=f"key {number % 25}") for number in range(40))

    answer = await http.post(SPANS, content=body, headers=NDJSON, params=DRY)

    assert (answer.status_code, code_of(answer)) == (413, "request.too_large")


@pytest.mark.parametrize("params", [{"dry_run": "yes"}, {"dry_run": ""}, {"dry_run": "true", "receipts": "all"}])
async def test_what_a_dry_run_cannot_be_asked_is_refused(http: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await http.post(SPANS, content=lines(0, 2), headers=NDJSON, params=params)

    assert (answer.status_code, code_of(answer)) == (400, "filter.invalid")


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("dryrun=true", "dryrun"),
        ("dry-run=true", "dry-run"),
        ("dry_run=false&dry_run=true", "dry_run"),
        ("dry_run=true&dry_run=true", "dry_run"),
        ("receipts=all&receipts=all", "receipts"),
        ("receipts=some", "receipts"),
        ("kind=a.b", "kind"),
    ],
)
@pytest.mark.parametrize("headers", [NDJSON, JSON], ids=["stream", "draft"])
async def test_what_may_have_meant_a_dry_run_writes_nothing(
    services: Services, http: httpx.AsyncClient, query: str, place: str, headers: Mapping[str, str]
) -> None:
    before = await state(services, http)

    answer = await http.post(f"{SPANS}?{query}", content=draft(1), headers=headers)

    assert (answer.status_code, code_of(answer), answer.json()["place"]) == (400, "filter.invalid", place)
    assert await state(services, http) == before


async def test_dry_run_false_writes(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=lines(0, 2), headers=NDJSON, params={"dry_run": "false"})

    assert (answer.status_code, answer.json()["appended"]) == (201, 2)
