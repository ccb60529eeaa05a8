"""Invites, and what a joiner and a root say to each other. From docs/protocol.md, Invites and Joining."""

from dataclasses import dataclass

from tests.independent.protocol.cbor import need, read_array, read_head, write
from tests.independent.protocol.control import invite_id
from tests.independent.protocol.fields import (
    ALPHABET,
    as_bytes,
    as_int,
    as_list,
    as_text,
    certificate_key,
    sha256,
    signed_by,
    unbase32,
)

PREFIX = "lognode-invite-"
HEAD_CHARS = 16
REQUEST_BYTES_MAX, ANSWER_BYTES_MAX = 4_096, 65_536


@dataclass(frozen=True)
class Invitation:
    tenant: bytes
    level: int
    uses: int
    expires_ms: int
    approve: bool
    seed: bytes
    servers: list[tuple[bytes, bytes, list[str]]]


def read_invitation(text: str) -> Invitation:
    bare = "".join(text.split()).lower()
    head, rest = bare.removeprefix(PREFIX)[:HEAD_CHARS], bare.removeprefix(PREFIX)[HEAD_CHARS:]
    need(bare.startswith(PREFIX) and set(rest) <= set(ALPHABET), "no invite")
    version, length, check = (raw := unbase32(head, 10))[:1], raw[1:3], raw[3:]
    need(version == b"\x01", "another version")
    payload = unbase32(rest, int.from_bytes(length, "big"))
    need(sha256(b"lognode invite text v1", version, length, payload)[:7] == check, "not as it was written")
    elements = read_head(payload)
    need(len(elements) == 7 and isinstance(elements[4], bool), "no payload of version 1")
    tenant, level, uses, expires_ms, approve, seed, servers = elements
    named = [as_list(server) for server in as_list(servers)]
    need(1 <= len(named) <= 4 and all(len(server) == 3 for server in named), "not one to four servers")
    return Invitation(
        as_bytes(tenant, 20),
        as_int(level, 1, 3),
        as_int(uses, 1, 10_000),
        as_int(expires_ms),
        bool(approve),
        as_bytes(seed, 32),
        [(as_bytes(node, 32), as_bytes(tls, 32), _addresses(at)) for node, tls, at in named],
    )


def join_words(tenant: bytes, joiner: bytes, server: bytes) -> list[int]:
    """Numbers of four words of the list."""
    bits = int.from_bytes(sha256(b"lognode join words v1", tenant, joiner, server), "big") >> 256 - 44
    return [bits >> place & 2047 for place in (33, 22, 11, 0)]


def check_request(data: bytes, invite_key: bytes) -> tuple[bytes, list[object], list[str]]:
    """Tenant, statement and addresses of a request that all four keys signed."""
    need(len(data) <= REQUEST_BYTES_MAX, "a request that is too long")
    version, tenant, statement, signatures, addresses = read_array(data, 5)
    as_int(version, 1, 1)
    said, signed = as_list(statement), as_list(signatures)
    need((len(said), len(signed)) == (7, 4), "no statement, or not four signatures")
    invite, node_key, certificate, witness, server, level, nonce = said
    as_bytes(server, 32), as_int(level, 1, 3), as_bytes(nonce, 16)
    need(as_bytes(invite, 16) == invite_id(as_bytes(tenant, 20), invite_key), "another invite")
    keys = [invite_key, certificate_key(as_bytes(certificate)), as_bytes(witness, 32), as_bytes(node_key, 32)]
    message = b"lognode join v1" + as_bytes(tenant) + write(said)
    for key, signature in zip(keys, signed, strict=True):
        need(signed_by(key, message, as_bytes(signature, 64)), "a signature that does not hold")
    return as_bytes(tenant), said, _addresses(addresses)


def read_answer(data: bytes) -> tuple[str, list[object]]:
    """What an answer is, and what it says."""
    need(len(data) <= ANSWER_BYTES_MAX, "an answer that is too long")
    version, kind, *rest = read_array(data)
    as_int(version, 1, 1)
    is_, count = {0: ("admitted", 3), 1: ("waiting", 1), 2: ("refused", 1)}[as_int(kind, 0, 2)]
    need(len(rest) == count, "not so many elements")
    if is_ == "admitted":
        as_bytes(rest[0], 24), as_int(rest[1], 1, 3)
        need(len(as_list(rest[2])) <= 16, "too many peers")
        for peer in as_list(rest[2]):
            node_key, certificate, addresses = as_list(peer)
            as_bytes(node_key, 32), certificate_key(as_bytes(certificate)), _addresses(addresses)
    else:
        (as_int if is_ == "waiting" else as_text)(rest[0])
    return is_, rest


def _addresses(value: object) -> list[str]:
    addresses = [as_text(one) for one in as_list(value)]
    need(len(addresses) <= 8 and all(":" in one for one in addresses), "too many addresses, or none")
    return addresses
