"""Whoever is no member of a tenant cannot tell whether there is one: not by the bytes of any answer, nor by a metric.

Each row is something that a stranger may do, done at a node that has the tenant, at one that does not, and at one that
has others; what comes back must be the same.
"""

import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from lognode.core.ids import TenantId
from lognode.federation.transport.tls import join_client_context
from lognode.protocol.messages import Refused
from lognode.protocol.wire import encode_answer, encode_request
from tests.federation.linked import LinkedNode, open_node, wait_until
from tests.federation.peers import Echo, Peer, connected
from tests.federation.roots import Root, founder, invite
from tests.federation.test_admissions import STRANGERS
from tests.federation.test_strangers import anonymous, context_of, refused_with
from tests.protocol.samples import REQUESTS as MESSAGES

POST: Final = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
CHUNKS: Final = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
# What a stranger may say to the join listener besides what `STRANGERS` brings to its one path.
REQUESTS: Final = {
    "no path": POST % (b"/", 0),
    "the path of members": POST % (b"/v1/peer", 1) + b"x",
    "the path of the API": POST % (b"/v1/tenants/default/spans", 2) + b"{}",
    "another method": b"GET /v1/join HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "no length": b"POST /v1/join HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + CHUNKS,
    "no HTTP": b"\x00\x01\x02\r\n\r\n",
}


async def told(address: str, context: ssl.SSLContext, sent: bytes) -> bytes:
    """All that a listener answers, except for the time of day."""
    answer = b""
    async with connected(address, context) as stream:
        await stream.send_all(sent)
        try:
            while part := await stream.receive_some():
                answer += part
        except trio.BrokenResourceError:
            answer += b"(cut off)"
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


async def answers_at_joins(handler: Callable[[bytes], Awaitable[bytes]], bodies: dict[str, bytes]) -> dict[str, bytes]:
    """What each request and body gets from a join listener with this handler."""
    peer = Peer(1)
    sent = REQUESTS | {name: POST % (b"/v1/join", len(body)) + body for name, body in bodies.items()}
    async with peer.joinable(handler) as address:
        return {name: await told(address, join_client_context(), data) for name, data in sent.items()}


async def test_a_join_listener_says_the_same_whatever_tenants_there_are() -> None:
    with_it, without_it = founder(), founder()
    made = invite(with_it)
    bodies = {name: make(with_it, made) for name, make in STRANGERS.items()}
    without_it.tenants.clear()

    async def broken(_body: bytes) -> bytes:
        return await Root.__new__(Root).admissions.answer(b"")  # a fault of ours must not tell either

    answers = await answers_at_joins(with_it.admissions.answer, bodies)
    assert answers == await answers_at_joins(without_it.admissions.answer, bodies)
    assert all(answer.startswith(b"HTTP/1.1 ") for answer in answers.values())
    # Bodies of the same length are refused in the same bytes, whatever is wrong with them.
    by_body = {answers[name] for name, body in bodies.items() if len(body) < 4096}
    assert len(by_body) == 1
    failing = await answers_at_joins(broken, bodies)
    assert all(answer.startswith(b"HTTP/1.1 ") for answer in failing.values())
    assert not any(b"Attribute" in answer for answer in failing.values())


@pytest.mark.parametrize("context", [anonymous, lambda: context_of(Peer(9).identity)])
async def test_the_peer_listener_says_the_same_however_many_members_there_are(
    context: Callable[[], ssl.SSLContext],
) -> None:
    said = set()
    for members in ([], [Peer(2)], [Peer(number) for number in range(2, 9)]):
        peer = Peer(1)
        peer.knows(*members)
        async with peer.serving(Echo()):
            said.add(await refused_with(peer, context()))
            assert peer.refusals == ["handshake"]
    assert len(said) == 1


async def told_by(node: LinkedNode, member: LinkedNode, tenant: TenantId) -> dict[str, bytes]:
    """What a node answers to a member of another tenant, of each request about this one."""
    answers: dict[str, bytes] = {}
    async with member.peer.dialer() as dialer:
        for name, request in MESSAGES.items():
            body = encode_request(request._replace(tenant=tenant))
            answers[name] = await dialer.ask(node.peer.contact, body)
            async with dialer.follow(node.peer.contact, body) as frames:
                answers[f"{name}, followed"] = b"|".join([frame async for frame in frames])
    return answers


async def test_a_member_of_one_tenant_is_told_nothing_of_another(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as node, open_node(tmp_path, 2, serves=False) as member:
        await node.admit(member)
        another = await node.writer.create_tenant("another")
        await wait_until(lambda: is_known(node, member))
        told: list[dict[str, bytes]] = []
        counted: list[dict[str, float]] = []
        for tenant in (another.tenant_id, TenantId(bytes(20)), another.tenant_id):
            before = counts(node)
            told.append(await told_by(node, member, tenant))
            counted.append({name: value - before[name] for name, value in counts(node).items()})

    assert told[0] == told[1] == told[2]
    assert set(told[0].values()) == {encode_answer(Refused("peer.refused"), 0)}
    assert counted[1] == counted[2]


async def is_known(node: LinkedNode, member: LinkedNode) -> bool:
    return node.peer.roster.node_of(member.peer.identity.certificate) is not None


def counts(node: LinkedNode) -> dict[str, float]:
    """Every counter of a node's metrics, with its labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in node.outside.meters.registry.collect()
        for sample in family.samples
        if family.type == "counter"
    }
