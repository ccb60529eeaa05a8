"""Reads what control spans say, and checks what of it can be checked alone; from docs/protocol.md, Control spans."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.independent.protocol.cbor import Refused, Unbound, need, read_array, write
from tests.independent.protocol.fields import (
    INT63,
    as_bytes,
    as_int,
    as_kind,
    as_list,
    as_rising,
    as_text,
    or_null,
    sha256,
    signed_by,
)
from tests.independent.protocol.forks import Fork, check_fork, read_fork_data
from tests.independent.protocol.openings import bound, check_certificate, read_after, read_founding, read_opening

RESERVED = frozenset("feed tenant member invite identity quorum timeline span rule conflict lease task".split())
CONTROL = frozenset("feed tenant member invite identity quorum".split())
CUTS_MAX = 10_000
REASON_BYTES_MAX = 4_096
USES_MAX = 10_000
POLICIES = ("latest", "manual")
Cuts = dict[bytes, int]


@dataclass(frozen=True)
class Place:
    """Where a control span stands, as far as its signatures are about that."""

    tenant: bytes
    feed: bytes
    author: bytes


@dataclass
class Said:
    """What a control span says. `key` is whom it is about; `is_bound` whether what can be checked alone holds."""

    after: list[bytes]
    key: bytes = b""
    new_key: bytes = b""
    level: int = 0
    cuts: Cuts = field(default_factory=dict)
    feed: bytes = b""
    size: int = 0
    invite: bytes | None = None
    invite_key: bytes = b""
    uses: int = 0
    expires_ms: int = 0
    server: bytes = b""
    policy: tuple[str, str] = ("", "")
    recovery_key: bytes = b""
    message: bytes = b""
    signature: bytes | None = None
    fork: Fork | None = None
    is_bound: bool = True

    def is_signed_by(self, key: bytes) -> bool:
        return self.signature is not None and signed_by(key, self.message, self.signature)


def read_control(kind: str, data: bytes, place: Place) -> Said:
    """Raises Refused where the data has not the form of its kind, KeyError where the kind is none of these."""
    return READERS[kind](data, place)


def invite_id(tenant: bytes, key: bytes) -> bytes:
    return sha256(b"lognode invite v1", tenant, key)[:16]


def _cuts(value: object) -> Cuts:
    items = [as_list(item) for item in as_list(value)]
    need(len(items) <= CUTS_MAX and all(len(item) == 3 for item in items), "no cuts")
    as_rising([as_bytes(feed, 16) for feed, _, _ in items])
    for _, _, root in items:
        as_bytes(root, 32)
    return {as_bytes(feed): as_int(size, 1, INT63) for feed, size, _ in items}


def _opening(data: bytes, place: Place) -> Said:
    elements = read_array(data, 9)
    said = Said(read_after(elements[0]), key=as_bytes(elements[1], 32))
    return _checked(said, lambda: read_opening(data, place.tenant, place.feed))


def _founding(data: bytes, place: Place) -> Said:
    elements = read_array(data, 7)
    said = Said(read_after(elements[0]), key=as_bytes(elements[3], 32), level=3)
    return _checked(said, lambda: read_founding(data, place.tenant))


def _checked(said: Said, read: Callable[[], object]) -> Said:
    try:
        read()
    except Unbound:
        said.is_bound = False
    return said


def _policy(data: bytes, _: Place) -> Said:
    after, kind, policy = read_array(data, 3)
    name = as_kind(kind)
    need(name.partition(".")[0] not in RESERVED and as_text(policy) in POLICIES, "no such kind or policy")
    return Said(read_after(after), policy=(name, as_text(policy)))


def _admission(data: bytes, place: Place) -> Said:
    after, node_key, certificate, witness, level, invite, nonce, server, *signatures = read_array(data, 12)
    said = Said(
        read_after(after),
        key=as_bytes(node_key, 32),
        level=as_int(level, 1, 3),
        invite=or_null(invite, lambda one: as_bytes(one, 16)),
        server=as_bytes(server, 32),
        signature=or_null(signatures[0], lambda one: as_bytes(one, 64)),
    )
    need((said.invite is None) == (said.signature is None), "an invite without its signature, or the reverse")
    as_bytes(nonce, 16)
    statement = [said.invite, said.key, as_bytes(certificate), as_bytes(witness, 32), said.server, level, nonce]
    said.message = b"lognode join v1" + place.tenant + write(statement)
    by_joiner = [as_bytes(one, 64) for one in signatures[1:]]
    return _checked(said, lambda: _signed_by_all(certificate, as_bytes(witness), said.key, said.message, by_joiner))


def _signed_by_all(certificate: object, witness: bytes, node_key: bytes, message: bytes, signed: list[bytes]) -> None:
    keys = [check_certificate(as_bytes(certificate)), witness, node_key]
    for key, signature in zip(keys, signed, strict=True):
        bound(signed_by(key, message, signature), "not signed by a key that it names")


def _level(data: bytes, _: Place) -> Said:
    after, key, level, cuts = read_array(data, 4)
    return Said(read_after(after), key=as_bytes(key, 32), level=as_int(level, 0, 3), cuts=_cuts(cuts))


def _removal(data: bytes, _: Place) -> Said:
    after, key, cuts, reason = read_array(data, 4)
    need(len(as_text(reason).encode()) <= REASON_BYTES_MAX, "a reason that is too long")
    return Said(read_after(after), key=as_bytes(key, 32), cuts=_cuts(cuts))


def _adoption(data: bytes, _: Place) -> Said:
    after, feed, size, root = read_array(data, 4)
    as_bytes(root, 32)
    return Said(read_after(after), feed=as_bytes(feed, 16), size=as_int(size, 1, INT63))


def _fork(data: bytes, place: Place) -> Said:
    after, openings, seq, sides = read_fork_data(data)
    said = Said(as_rising(after))
    try:
        said.fork = check_fork(openings, seq, sides)
    except Refused:
        said.is_bound = False
    else:
        said.is_bound = said.fork.tenant == place.tenant
    return said


def _invite(data: bytes, place: Place) -> Said:
    after, key, level, uses, expires_ms, approve = read_array(data, 6)
    as_int(approve, 0, 1)
    return Said(
        read_after(after),
        level=as_int(level, 1, 3),
        uses=as_int(uses, 1, USES_MAX),
        expires_ms=as_int(expires_ms, 0, 2**47 - 1),
        invite_key=as_bytes(key, 32),
        invite=invite_id(place.tenant, as_bytes(key)),
    )


def _invite_end(data: bytes, _: Place) -> Said:
    after, invite = read_array(data, 2)
    return Said(read_after(after), invite=as_bytes(invite, 16))


def _recovery(data: bytes, place: Place) -> Said:
    elements = read_array(data, 5)
    after, key, recovery_key, signature, former = elements
    said = Said(
        read_after(after),
        key=as_bytes(key, 32),
        recovery_key=as_bytes(recovery_key, 32),
        message=b"lognode recovery v1" + place.tenant + write(elements[:3]),
        signature=or_null(former, lambda one: as_bytes(one, 64)),
    )
    said.is_bound = signed_by(said.key, said.message, as_bytes(signature, 64))
    return said


def _rotation(data: bytes, place: Place) -> Said:
    elements = read_array(data, 10)
    after, old, new, certificate, witness, cuts, signature, *by_new = elements
    said = Said(
        read_after(after),
        key=as_bytes(old, 32),
        new_key=as_bytes(new, 32),
        cuts=_cuts(cuts),
        message=b"lognode rotate v1" + place.tenant + place.author + write(elements[:6]),
        signature=as_bytes(signature, 64),
    )
    signed = [as_bytes(one, 64) for one in by_new]
    as_bytes(certificate)
    return _checked(
        said, lambda: _signed_by_all(certificate, as_bytes(witness, 32), said.new_key, said.message, signed)
    )


def _revocation(data: bytes, place: Place) -> Said:
    elements = read_array(data, 4)
    after, key, cuts, signature = elements
    return Said(
        read_after(after),
        key=as_bytes(key, 32),
        cuts=_cuts(cuts),
        message=b"lognode revoke v1" + place.tenant + place.author + write(elements[:3]),
        signature=as_bytes(signature, 64),
    )


READERS: dict[str, Callable[[bytes, Place], Said]] = {
    "feed.open": _opening,
    "tenant.create": _founding,
    "tenant.policy": _policy,
    "member.admit": _admission,
    "member.level": _level,
    "member.remove": _removal,
    "feed.adopt": _adoption,
    "feed.fork": _fork,
    "invite.create": _invite,
    "invite.revoke": _invite_end,
    "identity.recovery": _recovery,
    "identity.rotate": _rotation,
    "identity.revoke": _revocation,
}
