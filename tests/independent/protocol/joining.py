"""Invites, and what joiner and server say to each other. From docs/protocol.md, Invites and Joining."""

from dataclasses import dataclass

from tests.independent.protocol.cbor import need, read_array, read_head, write
from tests.independent.protocol.fields import (
    as_bytes,
    as_int,
    as_list,
    as_text,
    certificate_key,
    or_null,
    sha256,
    signed_by,
    unbase32,
)

PREFIX = "lognode-invite-"
HEAD_CHARS = 16
VERSION = 1
WORDS = 4
WORD_BITS = 11


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
    line = "".join(text.split()).lower()
    need(line.startswith(PREFIX), "no invite")
    code = line.removeprefix(PREFIX)
    head, rest = unbase32(code[:HEAD_CHARS], 10), code[HEAD_CHARS:]
    need(head[0] == VERSION, "another version")
    payload = unbase32(rest, int.from_bytes(head[1:3], "big"))
    need(sha256(b"lognode invite text v1", head[:3], payload)[:7] == head[3:], "a checksum that does not fit")
    tenant, level, uses, expires_ms, approve, seed, servers = _seven(payload)
    need(isinstance(approve, bool), "neither true nor false")
    found = [as_list(server) for server in as_list(servers)]
    need(1 <= len(found) <= 4 and all(len(server) == 3 and len(as_list(server[2])) <= 8 for server in found), "servers")
    return Invitation(
        as_bytes(tenant, 20),
        as_int(level, 1, 3),
        as_int(uses, 1, 10_000),
        as_int(expires_ms, 1),
        bool(approve),
        as_bytes(seed, 32),
        [(as_bytes(node, 32), as_bytes(tls, 32), [as_text(one) for one in as_list(at)]) for node, tls, at in found],
    )


def _seven(payload: bytes) -> list[object]:
    elements = read_head(payload)
    need(len(elements) == 7, "not seven elements")
    return elements


def join_words(tenant: bytes, joiner: bytes, server: bytes) -> list[int]:
    """The numbers of the words that both ends show."""
    bits = int.from_bytes(sha256(b"lognode join words v1", tenant, joiner, server), "big") >> 256 - WORDS * WORD_BITS
    return [bits >> WORD_BITS * (WORDS - 1 - at) & (1 << WORD_BITS) - 1 for at in range(WORDS)]


def check_request(data: bytes, invite_key: bytes) -> tuple[bytes, list[object], list[str]]:
    """Tenant, statement and addresses of a request that this invite's key and the joiner's three keys signed."""
    version, tenant, statement, signatures, addresses = read_array(data, 5)
    as_int(version, VERSION, VERSION)
    elements, signed = as_list(statement), [as_bytes(one, 64) for one in as_list(signatures)]
    need(len(elements) == 7 and len(signed) == 4, "not the parts of a request")
    message = b"lognode join v1" + as_bytes(tenant, 20) + write(elements)
    node_key, certificate, witness_key = (as_bytes(one) for one in elements[1:4])
    for key, signature in zip((invite_key, certificate_key(certificate), witness_key, node_key), signed, strict=True):
        need(signed_by(key, message, signature), "not signed by a key that it names")
    return as_bytes(tenant), elements, [as_text(one) for one in as_list(addresses)]


def read_answer(data: bytes) -> tuple[str, list[object]]:
    """What a server answers: `admitted`, `waiting` or `refused`, and the rest."""
    version, kind, *rest = read_array(data)
    as_int(version, VERSION, VERSION)
    name = ("admitted", "waiting", "refused")[as_int(kind, 0, 2)]
    if name == "admitted":
        need(len(rest) == 3, "not an admission, a level and peers")
        admission, level, peers = rest
        or_null(admission, lambda one: as_bytes(one, 24))
        as_int(level, 1, 3)
        need(len(as_list(peers)) <= 16 and all(len(as_list(peer)) == 3 for peer in as_list(peers)), "no peers")
    else:
        need(len(rest) == 1, "not one element")
        _ = as_int(rest[0]) if name == "waiting" else as_text(rest[0])
    return name, rest
