"""What a joiner and a root member say to each other: one request, one answer, both small and of one form.

Owns their bytes and what they may hold. Must not know whether a request is granted. Invariants: nothing is accepted
that is not the one encoding of a message within its bounds; every refusal for the same reason has the same bytes.
Source: docs/protocol.md, Joining.
"""

from typing import Final, NamedTuple, TypeAlias

from lognode.core.access import Level
from lognode.core.codec import decode_array, encode
from lognode.core.errors import ERRORS, CallerError, PeerError
from lognode.core.ids import KEY_BYTES, NONCE_BYTES, SPAN_ID_BYTES, TENANT_ID_BYTES, SpanId, TenantId
from lognode.core.limits import (
    CERTIFICATE_BYTES_MAX,
    JOIN_ANSWER_BYTES_MAX,
    JOIN_PEERS_MAX,
    JOIN_REQUEST_BYTES_MAX,
    JOIN_RETRY_S_MAX,
)
from lognode.core.span import SIGNATURE_BYTES
from lognode.federation.invites.invitation import Invitation, are_addresses
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.invites import INVITE_ID_BYTES, invite_id
from lognode.timeline.control.members import JoinSignatures, JoinStatement, join_statement, sign_join
from lognode.timeline.control.shape import fault_of_bytes, fault_of_integer

VERSION: Final = 1
_ADMITTED, _WAITING, _REFUSED = range(3)


class JoinRequest(NamedTuple):
    """A statement, its signatures, and where the joiner's peer listener may answer (a hint, signed by nobody)."""

    tenant: TenantId
    statement: JoinStatement
    signatures: JoinSignatures
    addresses: tuple[str, ...]


class Peer(NamedTuple):
    """A member that a joiner can sync with."""

    node_key: bytes
    certificate: bytes
    addresses: tuple[str, ...]


class Admitted(NamedTuple):
    """The joiner is a member: by this span, at this level, and here are some peers, the admitting root first."""

    admission: SpanId
    level: Level
    peers: tuple[Peer, ...]


class Waiting(NamedTuple):
    """A person has to approve; ask again in so many seconds."""

    retry_s: int


class Refused(NamedTuple):
    """The joiner is not admitted; the code is of the table of errors."""

    code: str


Answer: TypeAlias = Admitted | Waiting | Refused


def sign_request(
    keys: NodeKeys, invitation: Invitation, server_key: bytes, nonce: bytes, addresses: tuple[str, ...]
) -> JoinRequest:
    """The request of the node with these keys to the root member with `server_key`."""
    tenant, key = invitation.tenant, invitation.key
    stated = join_statement(keys, tenant, invite_id(tenant, key.public), server_key, invitation.level, nonce)
    return JoinRequest(tenant, stated, sign_join(keys, tenant, stated, key), addresses)


def encode_request(request: JoinRequest) -> bytes:
    """The bytes of a request."""
    tenant, statement, signatures, addresses = request
    return encode([VERSION, tenant, list(statement), list(signatures), list(addresses)])


def decode_request(data: bytes) -> JoinRequest:
    """The request in `data`, no signature checked. Raises PeerError("message.malformed")."""
    version, tenant, stated, signed, addresses = _elements(data, 5, JOIN_REQUEST_BYTES_MAX)
    if type(version) is not int or version != VERSION or fault_of_bytes("", tenant, TENANT_ID_BYTES):
        raise PeerError("message.malformed", "version or tenant")
    if not are_addresses(addresses):
        raise PeerError("message.malformed", "addresses")
    assert isinstance(tenant, bytes)
    return JoinRequest(TenantId(tenant), _parse_statement(stated), _parse_signatures(signed), tuple(addresses))


def encode_answer(answer: Answer) -> bytes:
    """The bytes of an answer."""
    if isinstance(answer, Refused):
        return encode([VERSION, _REFUSED, answer.code])
    if isinstance(answer, Waiting):
        return encode([VERSION, _WAITING, answer.retry_s])
    peers = [[peer.node_key, peer.certificate, list(peer.addresses)] for peer in answer.peers]
    return encode([VERSION, _ADMITTED, answer.admission, int(answer.level), peers])


def decode_answer(data: bytes) -> Answer:
    """The answer in `data`. Raises PeerError("message.malformed")."""
    sort = data[2] if len(data) > 2 else None
    if sort == _ADMITTED:
        return _parse_admitted(_elements(data, 5, JOIN_ANSWER_BYTES_MAX))
    version, named, said = _elements(data, 3, JOIN_ANSWER_BYTES_MAX)
    if type(version) is int and version == VERSION and named == sort:
        if sort == _WAITING and type(said) is int and 0 < said <= JOIN_RETRY_S_MAX:
            return Waiting(said)
        if sort == _REFUSED and type(said) is str:
            return Refused(said if said in ERRORS else "invite.refused")  # of a newer node, perhaps
    raise PeerError("message.malformed", "no answer to a joiner")


def _parse_admitted(elements: list[object]) -> Admitted:
    version, _, admission, level, peers = elements
    if type(version) is not int or version != VERSION or fault_of_bytes("", admission, SPAN_ID_BYTES):
        raise PeerError("message.malformed", "version or admission")
    if not isinstance(peers, list) or len(peers) > JOIN_PEERS_MAX:
        raise PeerError("message.malformed", "peers")
    assert isinstance(admission, bytes)
    if fault := fault_of_integer("level", level, Level.OBSERVER, Level.ROOT):
        raise PeerError("message.malformed", fault)
    return Admitted(SpanId(admission), Level(level), tuple(map(_parse_peer, peers)))  # type: ignore[arg-type]


def _parse_statement(value: object) -> JoinStatement:
    if not isinstance(value, list) or len(value) != len(JoinStatement._fields):
        raise PeerError("message.malformed", "statement")
    stated = JoinStatement(*value)
    fault = (
        fault_of_bytes("invite id", stated.invite_id, INVITE_ID_BYTES)
        or fault_of_bytes("node key", stated.node_key, KEY_BYTES)
        or _fault_of_certificate(stated.certificate)
        or fault_of_bytes("witness key", stated.witness_key, KEY_BYTES)
        or fault_of_bytes("server key", stated.server_key, KEY_BYTES)
        or fault_of_integer("level", stated.level, Level.OBSERVER, Level.ROOT)
        or fault_of_bytes("nonce", stated.nonce, NONCE_BYTES)
    )
    if fault:
        raise PeerError("message.malformed", fault)
    return stated


def _parse_signatures(value: object) -> JoinSignatures:
    if not isinstance(value, list) or len(value) != len(JoinSignatures._fields):
        raise PeerError("message.malformed", "signatures")
    if any(fault_of_bytes("", signature, SIGNATURE_BYTES) for signature in value):
        raise PeerError("message.malformed", "signatures")
    return JoinSignatures(*value)


def _parse_peer(value: object) -> Peer:
    if not isinstance(value, list) or len(value) != len(Peer._fields):
        raise PeerError("message.malformed", "peers")
    node_key, certificate, addresses = value
    fault = fault_of_bytes("node key", node_key, KEY_BYTES) or _fault_of_certificate(certificate)
    if fault or not are_addresses(addresses):
        raise PeerError("message.malformed", fault or "addresses")
    return Peer(node_key, certificate, tuple(addresses))


def _elements(data: bytes, length: int, bytes_max: int) -> list[object]:
    if len(data) > bytes_max:
        raise PeerError("message.malformed", f"{len(data)} bytes, at most {bytes_max}")
    try:
        return decode_array(data, length)
    except CallerError as error:
        raise PeerError("message.malformed", error.detail) from error


def _fault_of_certificate(value: object) -> str | None:
    return None if isinstance(value, bytes) and 0 < len(value) <= CERTIFICATE_BYTES_MAX else "certificate"
