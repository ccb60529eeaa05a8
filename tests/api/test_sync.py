"""GET and POST .../sync on a node that is alone, and on one that knows another."""

from collections.abc import AsyncIterator

import httpx
import pytest

from lognode.api.federation import sync
from lognode.api.services import Services
from lognode.core.access import Level
from lognode.core.clock import hlc_from_ms
from lognode.core.codec import encode
from lognode.core.errors import PeerError
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.core.span import ORGANIZATION, PUBLIC, Entry
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.members import member_remove_data
from tests.api import serving
from tests.api.serving import TENANT, code_of, http_client, serve, tenant_of
from tests.timeline.pens import Pen, admitted

PEER = bytes(range(32, 64))
SYNC = f"{TENANT}/sync"
OWN = NodeKeys.from_seed(bytes(range(32)))  # as the services have them
AUTHOR = NodeKeys.from_seed(bytes([5]) * 32)


@pytest.fixture
async def http(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(serving, "REGISTRATIONS", (*serving.REGISTRATIONS, sync.register))
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_a_node_that_is_alone_has_no_peers(http: httpx.AsyncClient) -> None:
    assert (await http.get(SYNC)).json() == {"peers": [], "findings": []}
    asked = await http.post(SYNC)
    assert (asked.status_code, asked.json()) == (202, {"peers": [], "findings": []})
    assert code_of(await http.get(SYNC, params={"peer": "8c04h8vp"})) == "peer.unknown"


async def test_a_peer_is_shown_with_what_went_wrong_and_a_way_out(services: Services, http: httpx.AsyncClient) -> None:
    tie = services.links.ties.tie(PEER, tenant_of(services))
    tie.fail(PeerError("peer.unreachable", "nobody listens there"))
    node = format_logline(logline(LogLineKind.NODE, PEER))
    for named in (node, b32encode(PEER), b32encode(PEER)[:4]):
        (peer,) = (await http.get(SYNC, params={"peer": named})).json()["peers"]
        assert (peer["node"], peer["state"], peer["direction"]) == (node, "unreachable", None)
        assert peer["error"]["code"] == "peer.unreachable"
        assert peer["error"]["detail"] == "nobody listens there"
        assert peer["error"]["hint"]

    services.links.ties.tie(bytes([PEER[0]]) + bytes(31), tenant_of(services))
    refused = (await http.get(SYNC, params={"peer": b32encode(PEER)[0]})).json()
    assert refused["code"] == "peer.unknown"
    assert refused["detail"].startswith(f"2 keys begin with {b32encode(PEER)[0]!r}, such as ")
    assert b32encode(PEER)[:5] in refused["detail"]
    assert (await http.get(SYNC, params={"peer": "zzzz"})).json()["detail"] == "'zzzz'"

    assert not tie.asked.is_rung
    await http.post(SYNC, params={"peer": node})
    assert tie.asked.is_rung


async def write_what_is_void(services: Services) -> Pen:
    """Have the node hold a feed of another member with void entries of each sort, and one that is ahead of time."""
    tenant = tenant_of(services)
    admission = await services.writer.append_control(
        tenant,
        "member.admit",
        lambda _, after: admitted(AUTHOR, OWN, tenant.tenant_id, list(after), Level.TRUSTED),
    )
    pen = Pen(AUTHOR, tenant.tenant_id, [admission.id])
    pen.add(Entry(pen.next_hlc, ORGANIZATION, encode([2, "note", "of another version"]), None))
    for _ in range(2):
        pen.write("late", hlc=pen.next_hlc - 2)
    pen.add(Entry(pen.next_hlc, 9, *pen.entries[0][2:]))
    pen.write("member.admit", b"\xff", visibility=PUBLIC)
    pen.write("ahead", hlc=hlc_from_ms(services.world.now_ms() + 3_600_000))
    assert (await services.writer.ingest(tenant, [pen.range()]))[0] == len(pen.entries)
    return pen


async def test_what_is_void_or_ahead_of_time_is_named_by_author_and_code(
    services: Services, http: httpx.AsyncClient
) -> None:
    pen = await write_what_is_void(services)
    author = format_logline(AUTHOR.logline)
    tie = services.links.ties.tie(AUTHOR.public, tenant_of(services))
    tie.fail(PeerError("range.unproven", "a lie"))
    tie.fail(PeerError("peer.unreachable"))

    answer = (await http.get(SYNC)).json()
    found = {one["code"]: one for one in answer["findings"]}
    assert {code: one["count"] for code, one in found.items()} == {
        "clock.ahead": 1, "header.malformed": 1, "hlc.not_rising": 2, "visibility.unknown": 1, "body.malformed": 1,
    }  # fmt: skip
    assert all(one["node"] == author and one["title"] and one["hint"] for one in found.values())
    assert found["hlc.not_rising"]["detail"] == f"as entry 2 of feed {b32encode(pen.feed_id)}"
    (peer,) = answer["peers"]
    assert peer["error"]["code"] == "peer.unreachable"
    assert [(one["code"], one["count"], one["detail"]) for one in peer["findings"]] == [("range.unproven", 1, "a lie")]


async def test_what_is_beyond_a_cut_is_named_once_its_author_is_removed(
    services: Services, http: httpx.AsyncClient
) -> None:
    pen = await write_what_is_void(services)
    services.links.ties.tie(PEER, tenant_of(services))
    await services.writer.append_control(
        tenant_of(services), "member.remove", lambda _, after: member_remove_data(after, AUTHOR.public, [], "")
    )

    found = {one["code"]: one["count"] for one in (await http.get(SYNC)).json()["findings"]}
    assert found["member.removed"] == len([entry for entry in pen.entries if entry.visibility <= PUBLIC]) - 3
    assert sum(found.values()) - found["clock.ahead"] == len(pen.entries)
    asked = await http.get(SYNC, params={"peer": b32encode(PEER)})
    assert asked.json()["findings"] == []
