"""GET and POST .../sync on a node that is alone, and on one that knows another."""

from collections.abc import AsyncIterator

import httpx
import pytest

from lognode.api.federation import sync
from lognode.api.services import Services
from lognode.core.errors import PeerError
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from tests.api import serving
from tests.api.serving import TENANT, code_of, http_client, serve, tenant_of

PEER = bytes(range(32, 64))
SYNC = f"{TENANT}/sync"


@pytest.fixture
async def http(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(serving, "REGISTRATIONS", (*serving.REGISTRATIONS, sync.register))
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_a_node_that_is_alone_has_no_peers(http: httpx.AsyncClient) -> None:
    assert (await http.get(SYNC)).json() == {"peers": []}
    asked = await http.post(SYNC)
    assert (asked.status_code, asked.json()) == (202, {"peers": []})
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

    assert not tie.asked.is_rung
    await http.post(SYNC, params={"peer": node})
    assert tie.asked.is_rung
