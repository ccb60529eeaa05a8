"""GET .../spans and below, over a real port."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.clock import hlc_ms, time_text
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline, parse_span_id
from lognode.timeline.proof.checkpoint import parse_checkpoint
from lognode.timeline.proof.tlogproof import check_proof
from lognode.timeline.proof.tree import verify_consistency
from lognode.timeline.query import arrival_cursor, encode_cursor, lineage_of
from lognode.timeline.record import row_of
from tests.api.serving import SPANS, TENANT, append_kinds, http_client, serve, tenant_of


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def post(http: httpx.AsyncClient, **draft: Any) -> str:
    """The id of a new span."""
    answer = await http.post(SPANS, json=draft)
    return str(answer.json()["id"])


async def get(http: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refusal(http: httpx.AsyncClient, path: str, **params: Any) -> tuple[int, str]:
    answer = await http.get(path, params=params)
    return answer.status_code, answer.json()["code"]


async def test_filters_are_parameters_and_the_newest_come_first(http: httpx.AsyncClient) -> None:
    paid = [await post(http, kind="order.paid", tags=["a", "b"], subject="17") for _ in range(3)]
    await post(http, kind="order.paid", tags=["a"])
    sent = await post(http, kind="order.sent", tags=["b"], caused_by=paid[0])

    page = await get(http, SPANS, kind="order.paid", tag=["a", "b"])
    assert [span["id"] for span in page["spans"]] == paid[::-1]
    page = await get(http, SPANS, kind=["order.sent", "no.such"])
    assert [span["id"] for span in page["spans"]] == [sent]
    page = await get(http, SPANS, caused_by=paid[0], sort="asc")
    assert [span["id"] for span in page["spans"]] == [sent]


@pytest.mark.parametrize("order", ["timeline", "arrival"])
async def test_cursors_lead_through_everything_once_both_ways(
    services: Services, http: httpx.AsyncClient, order: str
) -> None:
    receipts = await append_kinds(services, *["a.b", "c.d"] * 25)
    wanted = [b32encode(receipt.id) for receipt in receipts[::2]]
    params = {"kind": "a.b", "order": order, "limit": 7}

    downwards: list[str] = []
    page = first = await get(http, SPANS, **params)
    while page["older"]:
        downwards += [span["id"] for span in page["spans"]]
        page = await get(http, SPANS, **params, before=page["older"])
    assert downwards + [span["id"] for span in page["spans"]] == wanted[::-1]

    upwards: list[str] = []
    page = await get(http, SPANS, **params, sort="asc")
    while page["spans"]:
        upwards += [span["id"] for span in page["spans"]]
        page = await get(http, SPANS, **params, sort="asc", after=page["newer"])
    assert upwards == wanted

    (later,) = await append_kinds(services, "a.b")
    page = await get(http, SPANS, **params, after=first["newer"])
    assert [span["id"] for span in page["spans"]] == [b32encode(later.id)]


async def test_a_wrong_parameter_is_refused_by_name(http: httpx.AsyncClient) -> None:
    answer = await http.get(SPANS, params={"knid": "a.b"})

    assert (answer.status_code, answer.json()["code"]) == (400, "filter.invalid")
    assert "kind" in answer.json()["detail"]


async def test_a_cursor_counts_on_its_own_node_and_tenant_only(services: Services, http: httpx.AsyncClient) -> None:
    lineage = lineage_of(services.node_public, tenant_of(services), services.store.feeds)
    foreign = encode_cursor(arrival_cursor(3), lineage._replace(node_public=b"n" * 32))

    assert await refusal(http, SPANS, order="arrival", after=foreign) == (400, "cursor.foreign")
    assert await refusal(http, SPANS, order="arrival", after="nonsense") == (400, "cursor.invalid")
    own = encode_cursor(arrival_cursor(3), lineage)
    assert await refusal(http, SPANS, order="timeline", after=own) == (400, "cursor.invalid")


async def test_a_span_that_is_not_there_is_told_from_a_wrong_id(http: httpx.AsyncClient) -> None:
    for below in ("", "/proof", "/causes", "/effects"):
        assert await refusal(http, f"{SPANS}/{b32encode(bytes(24))}{below}") == (404, "span.unknown")
        assert await refusal(http, f"{SPANS}/nonsense{below}") == (400, "id.malformed")


async def test_a_proof_and_a_vkey_suffice_to_check_a_span(http: httpx.AsyncClient) -> None:
    span_id = await post(http, kind="order.paid")
    span = await get(http, f"{SPANS}/{span_id}")
    (feed,) = (await get(http, f"{TENANT}/stats"))["feeds"]
    proof = await http.get(f"{SPANS}/{span_id}/proof")
    note = await http.get(f"{TENANT}/checkpoints/latest")

    assert proof.headers["Content-Type"] == "text/plain; charset=utf-8"
    checked = check_proof(proof.content, feed["vkey"])
    assert checked.entry.hex() == span["entry"]
    assert checked.index == span["seq"]
    assert proof.content.endswith(note.content)


async def test_an_earlier_checkpoint_is_proven_the_beginning_of_the_newest(http: httpx.AsyncClient) -> None:
    old = parse_checkpoint((await http.get(f"{TENANT}/checkpoints/latest")).content)
    for _ in range(5):
        await post(http, kind="order.paid")
    growth = await get(http, f"{TENANT}/checkpoints/latest", since=old.size)
    new = parse_checkpoint(growth["checkpoint"].encode())
    hashes = [bytes.fromhex(node) for node in growth["consistency"]]
    assert (growth["since"], new.size) == (old.size, old.size + 5)
    assert verify_consistency(old.size, new.size, old.root, new.root, hashes)
    assert not verify_consistency(old.size, new.size, bytes(32), new.root, hashes)
    for since in ("0", "-1", "x", str(new.size + 1)):
        assert await refusal(http, f"{TENANT}/checkpoints/latest", since=since) == (400, "filter.invalid")


async def test_walks_lead_to_causes_and_effects(http: httpx.AsyncClient) -> None:
    lost = b32encode(b"\x01" * 24)
    first = await post(http, kind="a.first", caused_by=lost)
    second = [await post(http, kind="a.second", caused_by=first) for _ in range(2)]
    third = await post(http, kind="a.third", caused_by=second[0])

    walk = await get(http, f"{SPANS}/{third}/causes")
    assert [(span["depth"], span["id"]) for span in walk["spans"]] == [(1, second[0]), (2, first)]
    assert (walk["missing"], walk["truncated"]) == ([lost], False)
    walk = await get(http, f"{SPANS}/{first}/effects")
    assert [(span["depth"], span["id"]) for span in walk["spans"]] == [(1, second[0]), (1, second[1]), (2, third)]
    walk = await get(http, f"{SPANS}/{first}/effects", limit=1)
    assert (len(walk["spans"]), walk["truncated"]) == (1, True)
    for limit in ("0", "1001", "x", "-1"):
        assert await refusal(http, f"{SPANS}/{first}/causes", limit=limit) == (400, "filter.invalid")


def origin_of(span_id: str) -> dict[str, Any]:
    """The origin of a copy of a span that was recorded in another tenant."""
    at = time_text(hlc_ms(int.from_bytes(parse_span_id(span_id)[:8], "big")))
    node = format_logline(logline(LogLineKind.NODE, bytes(32)))
    tenant, feed = b32encode(bytes(20)), b32encode(bytes(16))
    return {
        "id": span_id, "at": at, "tenant": tenant, "node": node, "feed": feed, "seq": 9, "actor_signed": True,
        "as": "import",
    }  # fmt: skip


async def test_the_id_of_an_original_leads_to_its_copy_which_is_proven_under_its_own(http: httpx.AsyncClient) -> None:
    old = [b32encode(bytes([0, n, *bytes(22)])) for n in (1, 2)]
    cause = await post(http, kind="a.first", origin=origin_of(old[0]))
    effect = await post(http, kind="a.second", caused_by=old[0], origin=origin_of(old[1]))
    await post(http, kind="a.third", caused_by=effect)

    shown = await get(http, f"{SPANS}/{old[1]}")
    assert (shown["id"], shown["caused_by"]) == (effect, old[0])
    assert shown["annotations"] == {"origin": origin_of(old[1])}
    assert [span["id"] for span in (await get(http, f"{SPANS}/{effect}/causes"))["spans"]] == [cause]
    assert len((await get(http, f"{SPANS}/{old[0]}/effects"))["spans"]) == 2
    assert [span["id"] for span in (await get(http, SPANS, origin=old[1]))["spans"]] == [effect]
    assert (await get(http, SPANS, origin=effect))["spans"] == []
    answer = await http.get(f"{SPANS}/{old[1]}/proof")
    assert (answer.status_code, answer.json()["code"]) == (404, "span.unknown")
    assert effect in answer.json()["detail"]
    assert (await http.get(f"{SPANS}/{effect}/proof")).status_code == 200
    assert await refusal(http, SPANS, origin="x") == (400, "id.malformed")


async def test_a_checkpoint_is_that_of_the_feed_asked_for(services: Services, http: httpx.AsyncClient) -> None:
    other = await services.writer.create_tenant("other")
    feeds = {feed.tenant: b32encode(feed.feed_id) for feed in services.store.feeds.values()}
    own = feeds[tenant_of(services).number]

    note = await http.get(f"{TENANT}/checkpoints/latest", params={"feed": own})
    assert note.text.splitlines()[0].endswith(own)
    assert note.content == (await http.get(f"{TENANT}/checkpoints/latest")).content
    # Also one that this node holds, for another tenant.
    for feed in (feeds[other.number], b32encode(bytes(16))):
        assert await refusal(http, f"{TENANT}/checkpoints/latest", feed=feed) == (404, "feed.unknown")
    assert await refusal(http, f"{TENANT}/checkpoints/latest", feed="x") == (400, "id.malformed")


async def test_statistics_count_what_is_in(services: Services, http: httpx.AsyncClient) -> None:
    before = await get(http, f"{TENANT}/stats")
    await append_kinds(services, "a.b", "a.b", "c.d")
    after = await get(http, f"{TENANT}/stats")

    assert after["spans"] == before["spans"] + 3
    assert (after["kinds"]["a.b"], after["kinds"]["c.d"]) == (2, 1)
    assert after["state"] != before["state"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
async def test_a_page_of_large_spans_ends_early_and_its_cursor_leads_on(http: httpx.AsyncClient, sort: str) -> None:
    wanted = [await post(http, kind="a.large", title=str(number), data="x" * 900_000) for number in range(10)]
    names = ("after", "newer") if sort == "asc" else ("before", "older")

    found: list[str] = []
    sizes: list[int] = []
    cursor: dict[str, str | None] = {}
    while not sizes or (sizes[-1] and None not in cursor.values()):
        page = await get(http, SPANS, kind="a.large", sort=sort, limit=1000, **cursor)
        found += [span["id"] for span in page["spans"]]
        sizes.append(len(page["spans"]))
        cursor = {names[0]: page[names[1]]}
    assert found == (wanted if sort == "asc" else wanted[::-1])
    assert sizes[:3] == [4, 4, 2]


async def damage(services: Services, *statements: str) -> None:
    """Change stored bytes behind the node's back."""

    def change(conn: sqlite3.Connection) -> None:
        conn.execute("DROP TRIGGER IF EXISTS spans_are_never_changed")
        for statement in statements:
            conn.execute(statement)

    await services.store.write(change)


async def test_damage_to_a_stored_span_is_the_nodes_fault_at_its_position(
    services: Services, http: httpx.AsyncClient
) -> None:
    span_id = await post(http, kind="a.b", caused_by=b32encode(bytes(24)))
    position = (await get(http, f"{SPANS}/{span_id}"))["position"]
    await damage(services, f"UPDATE spans SET header = zeroblob(length(header)) WHERE row = {position}")

    paths = (SPANS, f"{SPANS}/{span_id}", f"{SPANS}/{span_id}/proof", f"{SPANS}/{span_id}/causes")
    for path in (*paths, f"{SPANS}/{b32encode(bytes(24))}/effects"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (500, "database.damaged"), path
    assert (await http.get(SPANS)).json()["place"] == f"position {position}"


async def test_what_sqlite_cannot_read_is_damage(services: Services, http: httpx.AsyncClient) -> None:
    await damage(services, "DROP TABLE bodies")

    assert await refusal(http, SPANS) == (500, "database.damaged")


async def test_what_is_void_is_shown_to_who_names_it_alone(services: Services, http: httpx.AsyncClient) -> None:
    first = await post(http, kind="order.placed")
    voided = await post(http, kind="order.void", caused_by=first)
    last = await post(http, kind="order.paid", caused_by=voided)
    tenant, position = tenant_of(services), (await get(http, f"{SPANS}/{voided}"))["position"]
    cursor = (await get(http, SPANS, order="arrival"))["newer"]

    def make_void(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO voids VALUES (?, 'member.not_root')", (row_of(tenant.number, position),))

    await services.store.write(make_void)

    for order in ("timeline", "arrival"):
        page = await get(http, SPANS, order=order, kind="order.*", sort="asc")
        assert [span["id"] for span in page["spans"]] == [first, last]
    assert (await get(http, SPANS, order="arrival", after=cursor))["spans"] == []
    assert (await get(http, f"{SPANS}/{voided}"))["void"] == "member.not_root"
    assert "void" not in await get(http, f"{SPANS}/{last}")
    causes = (await get(http, f"{SPANS}/{last}/causes"))["spans"]
    assert [(span["id"], span.get("void")) for span in causes] == [(voided, "member.not_root"), (first, None)]
    assert (await get(http, f"{SPANS}/{first}/effects"))["spans"] == []
    proof = await http.get(f"{SPANS}/{voided}/proof")
    assert proof.status_code == 200
    stats = await get(http, f"{TENANT}/stats")
    assert (stats["void"], stats["withheld"], stats["feeds"][0]["void"]) == (1, 0, 1)
    assert "order.void" not in stats["kinds"]
