"""The invite as one line of text: whom it lets in where, and the seed of the key that proves that one holds it.

Owns the text and what may stand in it. Must not know of spans, connections or time. Invariants: one invitation has one
text; a text of which characters are missing, changed or added is told apart from one of a newer lognode, before
anything in it is looked at.
Source: docs/protocol.md, Invites.
"""

import re
from hashlib import sha256
from typing import Final, NamedTuple, TypeGuard

from lognode.core.access import Level
from lognode.core.codec import INT_MAX, decode_array, encode
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, TENANT_ID_BYTES, TenantId, b32decode, b32encode
from lognode.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_MAX,
    INVITE_CHARS_MAX,
    INVITE_SERVERS_MAX,
    INVITE_USES_MAX,
)
from lognode.identity.keys import SEED_BYTES, KeyPair
from lognode.timeline.control.shape import fault_of_bytes

PREFIX: Final = "lognode-invite-"
VERSION: Final = 1
LEVELS: Final = (Level.OBSERVER, Level.TRUSTED, Level.ROOT)
_VERSION_BYTES: Final = 1
_LENGTH_BYTES: Final = 2
_CHECK_BYTES: Final = 7
_HEAD_BYTES: Final = _VERSION_BYTES + _LENGTH_BYTES + _CHECK_BYTES
_HEAD_CHARS: Final = 16  # exactly the head, so that it can be read by itself
_ADDRESS: Final = re.compile(r"(?:\[[0-9a-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")


class Server(NamedTuple):
    """A root member that can admit: its keys, and where its join listener may answer."""

    node_key: bytes
    tls_key: bytes
    addresses: tuple[str, ...]  # host:port, IPv6 in brackets


class Invitation(NamedTuple):
    """What an invite says. The seed is a secret: it is shown in the text alone."""

    tenant: TenantId
    level: Level
    uses: int
    expires_ms: int
    approve: bool  # a person has to approve each joiner
    seed: bytes  # of the one-off invite key
    servers: tuple[Server, ...]

    def __repr__(self) -> str:
        return f"Invitation(tenant={b32encode(self.tenant)}, level={self.level.name.lower()})"

    @property
    def key(self) -> KeyPair:
        """The one-off key, whose public half stands in `invite.create`."""
        return KeyPair(self.seed)


def format_invitation(invitation: Invitation) -> str:
    """The text of an invitation: one line of letters, digits and hyphens."""
    servers = [[server.node_key, server.tls_key, list(server.addresses)] for server in invitation.servers]
    payload = encode([invitation.tenant, int(invitation.level), *invitation[2:6], servers])
    head = VERSION.to_bytes(_VERSION_BYTES) + len(payload).to_bytes(_LENGTH_BYTES)
    return PREFIX + b32encode(head + _check(head, payload)) + b32encode(payload)


def parse_invitation(text: str) -> Invitation:
    """The invitation written as `text`, which may be upper case as a whole and have space around and line ends in it.

    Raises CallerError invite.malformed, invite.newer, invite.incomplete or invite.altered. No error shows the text.
    """
    if len(text) > INVITE_CHARS_MAX:
        raise CallerError("invite.malformed", f"more than {INVITE_CHARS_MAX} characters")
    line = "".join(text.split()).lower()
    if not line.startswith(PREFIX):
        raise CallerError("invite.malformed", f"it does not begin with {PREFIX}")
    code = line.removeprefix(PREFIX)
    if len(code) < _HEAD_CHARS:
        raise CallerError("invite.incomplete", "most of it is missing")
    head = _bytes_of(code[:_HEAD_CHARS], _HEAD_BYTES)
    if head[0] > VERSION:
        raise CallerError("invite.newer", f"it has version {head[0]}, this node reads up to {VERSION}")
    length = int.from_bytes(head[_VERSION_BYTES : _VERSION_BYTES + _LENGTH_BYTES])
    chars = (length * 8 + 4) // 5
    missing = chars - (len(code) - _HEAD_CHARS)
    if missing > 0:
        raise CallerError("invite.incomplete", f"it lacks {missing} characters, or its beginning was altered")
    if missing < 0:
        raise CallerError("invite.altered", f"it has {-missing} characters too many, or its beginning was altered")
    payload = _bytes_of(code[_HEAD_CHARS:], length)
    if head[0] != VERSION or _check(head[:-_CHECK_BYTES], payload) != head[-_CHECK_BYTES:]:
        raise CallerError("invite.altered", "its checksum does not fit")
    return _parse_payload(payload)


def is_address(text: object) -> bool:
    """Whether `text` is a host and a port, as host:port or [IPv6]:port."""
    if type(text) is not str or len(text) > ADDRESS_CHARS_MAX:
        return False
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found[1]) < 65536


def are_addresses(value: object) -> TypeGuard[list[str]]:
    """Whether `value` is a list of not too many addresses."""
    return type(value) is list and len(value) <= ADDRESSES_MAX and all(map(is_address, value))


def _check(head: bytes, payload: bytes) -> bytes:
    return sha256(b"lognode invite text v1" + head + payload).digest()[:_CHECK_BYTES]


def _bytes_of(text: str, size: int) -> bytes:
    try:
        return b32decode(text, size)
    except CallerError:  # which shows the text
        raise CallerError("invite.altered", "it holds a character that it cannot hold there") from None


def _parse_payload(payload: bytes) -> Invitation:
    """The invitation in a payload whose checksum fits: what is wrong here, its maker did."""
    try:
        tenant, level, uses, expires_ms, approve, seed, servers = decode_array(payload, len(Invitation._fields))
    except CallerError as error:
        raise CallerError("invite.malformed", error.detail) from None
    if fault := fault_of_bytes("tenant", tenant, TENANT_ID_BYTES) or fault_of_bytes("seed", seed, SEED_BYTES):
        raise CallerError("invite.malformed", fault)
    if type(level) is not int or level not in LEVELS:
        raise CallerError("invite.malformed", "level")
    if type(uses) is not int or not 0 < uses <= INVITE_USES_MAX:
        raise CallerError("invite.malformed", "uses")
    if type(expires_ms) is not int or not 0 < expires_ms <= INT_MAX:
        raise CallerError("invite.malformed", "expiry")
    if type(approve) is not bool or type(servers) is not list or not 0 < len(servers) <= INVITE_SERVERS_MAX:
        raise CallerError("invite.malformed", "approval or servers")
    assert isinstance(tenant, bytes)
    assert isinstance(seed, bytes)
    read = tuple(map(_parse_server, servers))
    return Invitation(TenantId(tenant), Level(level), uses, expires_ms, approve, seed, read)


def _parse_server(value: object) -> Server:
    if not isinstance(value, list) or len(value) != len(Server._fields):
        raise CallerError("invite.malformed", "servers")
    node_key, tls_key, addresses = value
    fault = fault_of_bytes("node key", node_key, KEY_BYTES) or fault_of_bytes("TLS key", tls_key, KEY_BYTES)
    if fault or not are_addresses(addresses):
        raise CallerError("invite.malformed", fault or "addresses")
    return Server(node_key, tls_key, tuple(addresses))
