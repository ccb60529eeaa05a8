"""GET .../bundle: what may be asked for, and that a slow client holds nothing up."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.access import Action, Principal, Role, allow
from lognode.core.ids import LogLineKind, TenantId, b32encode, logline
from lognode.core.limits import BUNDLE_QUERY_BYTES_MAX
from lognode.timeline.proof.bundle.reader import verify_bundle
from lognode.timeline.store.database import _checkpoint
from tests.api.serving import BUNDLE, NDJSON, SPANS, append_kinds, code_of, http_client, lines, serve


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_a_bundle_holds_what_the_filters_choose(http: httpx.AsyncClient) -> None:
    await http.post(SPANS, content=lines(0, 700), headers=NDJSON)
    await http.post(SPANS, content=lines(0, 5, subject="x y", tags=["a&b"]), headers=NDJSON)

    everything = await http.get(BUNDLE)
    some = await http.get(BUNDLE, params={"subject": "x y", "tag": "a&b"})
    verdict = verify_bundle([everything.content])

    assert everything.headers["Content-Type"] == "application/cbor-seq"
    assert (verdict.spans, verdict.feeds[0].is_whole, verdict.head.query) == (707, True, "")
    verdict = verify_bundle([some.content])
    assert (verdict.spans, verdict.head.query) == (5, "subject=x+y&tag=a%26b")


async def test_private_spans_leave_only_when_asked_for(http: httpx.AsyncClient) -> None:
    secret = {"kind": "note", "title": "a secret", "visibility": "private"}
    await http.post(SPANS, content=json.dumps(secret), headers={"Content-Type": "application/json"})

    without = (await http.get(BUNDLE)).content
    within = (await http.get(BUNDLE, params={"include": "private", "visibility": "private"})).content

    assert (verify_bundle([without]).spans, verify_bundle([without]).stubs, b"a secret" in without) == (2, 1, False)
    assert (verify_bundle([within]).spans, b"a secret" in within) == (1, True)
    refused = await http.get(BUNDLE, params={"visibility": "private"})
    assert (code_of(refused), refused.json()["place"]) == ("filter.invalid", "visibility")


def test_private_content_leaves_by_an_owner_alone() -> None:
    tenant = TenantId(bytes(20))
    for role in Role:
        someone = Principal("someone", logline(LogLineKind.PERSON, bytes(32)), roles={tenant: role})
        assert allow(someone, Action.PRIVATE_BUNDLE, tenant) == (role == Role.OWNER)
        assert allow(someone, Action.BUNDLE_CREATE, tenant) == (role >= Role.MEMBER)


async def test_a_range_of_a_feed_is_whole(http: httpx.AsyncClient, services: Services) -> None:
    await http.post(SPANS, content=lines(0, 20), headers=NDJSON)
    feed = b32encode(services.store.feeds[1].feed_id)

    verdict = verify_bundle([(await http.get(BUNDLE, params={"feed": feed, "start": "3", "stop": "11"})).content])

    found = verdict.feeds[0]
    assert (found.start, found.stop, found.is_whole, found.size) == (3, 11, True, 22)
    assert verdict.head.query == f"feed={feed}&start=3&stop=11"


@pytest.mark.parametrize(
    ("query", "code", "place"),
    [
        ("order=arrival", "filter.invalid", "order"),
        ("limit=5", "filter.invalid", "limit"),
        ("after=x", "filter.invalid", "after"),
        ("include=all", "filter.invalid", "include"),
        ("include=private&include=private", "filter.invalid", "include"),
        ("start=1", "filter.invalid", "start"),
        ("stop=1", "filter.invalid", "stop"),
        ("feed=x", "id.malformed", "feed"),
        ("feed=00000000000000000000000000", "feed.unknown", "feed"),
        ("feed={feed}&kind=note", "filter.invalid", "kind"),
        ("feed={feed}&feed={feed}", "filter.invalid", "feed"),
        ("feed={feed}&start=-1", "filter.invalid", "start"),
        ("feed={feed}&start=9223372036854775808", "filter.invalid", "start"),
        ("feed={feed}&start=2", "filter.invalid", "start"),
        ("feed={feed}&stop=3", "filter.invalid", "stop"),
        ("feed={feed}&stop=0", "filter.invalid", "start"),
        ("knid=note", "filter.invalid", "knid"),
        ("text=word", "search.off", None),
    ],
)
async def test_what_cannot_be_bundled_is_said_before_anything_is_sent(
    http: httpx.AsyncClient, services: Services, query: str, code: str, place: str | None
) -> None:
    refused = await http.get(f"{BUNDLE}?{query.format(feed=b32encode(services.store.feeds[1].feed_id))}")

    assert (code_of(refused), refused.json().get("place")) == (code, place)


async def test_a_query_that_no_reader_would_take_is_refused(http: httpx.AsyncClient) -> None:
    """Escaped, the request line of 22 KB takes three times as many bytes; one that comes whole is read."""
    tags = "&".join(["tag=" + 4000 * "!"] * 5) + "&tag="
    most = (BUNDLE_QUERY_BYTES_MAX - len(tags.replace("!", "%21"))) // 3

    taken = await http.get(f"{BUNDLE}?{tags}{most * '!'}")
    refused = await http.get(f"{BUNDLE}?{tags}{(most + 1) * '!'}")

    assert len(verify_bundle([taken.content]).head.query) > BUNDLE_QUERY_BYTES_MAX - 3
    assert code_of(refused) == "filter.invalid"


async def test_a_client_that_stops_reading_holds_no_snapshot_open(http: httpx.AsyncClient, services: Services) -> None:
    large = json.dumps({"kind": "note", "data": "x" * 1_000_000}).encode() + b"\n"
    for _ in range(8):
        await http.post(SPANS, content=large * 10, headers=NDJSON)

    async with http.stream("GET", BUNDLE) as answer:
        chunks = answer.aiter_bytes(1000)
        first = await anext(chunks)
        await append_kinds(services, "note")
        # While a reader is in a snapshot of before that commit, the WAL cannot be emptied.
        await services.store.write(_checkpoint)
        rest = [chunk async for chunk in chunks]

    assert verify_bundle([first, *rest]).spans == 82
