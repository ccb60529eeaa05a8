"""Causal order over HTTP: how spans stand to each other, and pages of what a node knew."""

from collections.abc import AsyncIterator

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.ids import LogLineKind, format_logline, logline
from tests.api.serving import BUNDLE, NDJSON, SPANS, code_of, http_client, lines, serve


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        await client.post(SPANS, content=lines(0, 3), headers=NDJSON)
        yield client


async def spans_of(http: httpx.AsyncClient) -> list[dict[str, object]]:
    page = (await http.get(SPANS, params={"sort": "asc"})).json()
    return [span for span in page["spans"] if not span["kind"].startswith(("feed.", "tenant."))]


async def test_of_two_spans_of_one_node_the_earlier_one_is_before(http: httpx.AsyncClient) -> None:
    one, other, _ = await spans_of(http)
    answer = (await http.get(f"{SPANS}/{one['id']}/relation/{other['id']}")).json()
    assert (answer["relation"], answer["lacking"]) == ("before", [])
    assert answer["span"] == {name: one[name] for name in ("id", "kind", "at", "node", "feed", "seq")}
    for first, second, relation in ((other, one, "after"), (one, one, "equal")):
        answer = (await http.get(f"{SPANS}/{first['id']}/relation/{second['id']}")).json()
        assert answer["relation"] == relation


async def test_what_is_not_here_or_no_id_is_refused(http: httpx.AsyncClient) -> None:
    (one, *_) = await spans_of(http)
    unknown = "0" * 39
    assert code_of(await http.get(f"{SPANS}/{one['id']}/relation/{unknown}")) == "span.unknown"
    assert code_of(await http.get(f"{SPANS}/{unknown}/relation/{one['id']}")) == "span.unknown"
    assert code_of(await http.get(f"{SPANS}/{one['id']}/relation/x")) == "id.malformed"
    assert code_of(await http.get(f"{SPANS}/{one['id']}/relation/{one['id']}", params={"x": "1"})) == "filter.invalid"


async def test_a_page_shows_what_a_node_knew_at_a_span(http: httpx.AsyncClient) -> None:
    one, other, last = await spans_of(http)
    known = {"known_by": str(other["node"]), "at": str(other["id"])}
    found = [span["id"] for span in (await http.get(SPANS, params=known)).json()["spans"]]
    assert one["id"] in found
    assert other["id"] in found
    assert last["id"] not in found
    assert (await http.get(BUNDLE, params=known)).status_code == 200
    stranger = format_logline(logline(LogLineKind.NODE, bytes(32)))
    assert (await http.get(SPANS, params={**known, "known_by": stranger})).json()["spans"] == []


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"at": "0" * 39}, "known_by"),
        ({"known_by": format_logline(logline(LogLineKind.NODE, bytes(32)))}, "at"),
        ({"known_by": format_logline(logline(LogLineKind.PERSON, bytes(32))), "at": "0" * 39}, "known_by"),
        ({"known_by": "me", "at": "0" * 39}, "known_by"),
        ({"known_by": format_logline(logline(LogLineKind.NODE, bytes(32))), "at": "0" * 39}, "at"),
    ],
)
async def test_half_a_question_is_refused(http: httpx.AsyncClient, params: dict[str, str], place: str) -> None:
    answer = await http.get(SPANS, params=params)
    assert answer.is_client_error
    assert answer.json()["place"] == place


async def test_a_live_tail_of_what_was_known_is_refused(http: httpx.AsyncClient) -> None:
    (one, *_) = await spans_of(http)
    params = {"known_by": str(one["node"]), "at": str(one["id"])}
    answer = await http.get(SPANS.removesuffix("spans") + "live", params=params)
    assert code_of(answer) == "filter.invalid"
