"""Control spans about members: what their data holds, and whether its keys are bound.

Owns `member.admit`, `member.level`, `member.remove` and `feed.adopt`, and the statement by which a node joins. Must
not know whether their author may do so. Invariant: a statement that passes its check could be made by the holder of
the node key, the TLS key and the witness key alone, for this tenant and this server.
Source: docs/protocol.md, Control spans.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, KEY_BYTES, NONCE_BYTES, FeedId, SpanId, TenantId
from lognode.core.limits import SIZE_MAX, TEXT_BYTES_MAX
from lognode.core.span import SIGNATURE_BYTES
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import KeyPair, NodeKeys, verify_signature
from lognode.timeline.control.invites import INVITE_ID_BYTES
from lognode.timeline.control.shape import (
    elements,
    fault_of_after,
    fault_of_bytes,
    fault_of_cuts,
    fault_of_integer,
    fault_of_optional,
)
from lognode.timeline.proof.tree import HASH_BYTES

Cuts = Sequence[tuple[FeedId, int, bytes]]  # feed, size, root


class JoinStatement(NamedTuple):
    """What a joiner and its invite say to one server, in the order of its encoding; no invite: a root's own act."""

    invite_id: bytes | None
    node_key: bytes
    certificate: bytes
    witness_key: bytes
    server_key: bytes
    level: int
    nonce: bytes


class JoinSignatures(NamedTuple):
    """Signatures of one statement by the invite key and by the three keys of the joiner that it names."""

    invite: bytes | None
    tls: bytes
    witness: bytes
    node: bytes


class MemberAdmit(NamedTuple):
    """The data of `member.admit`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    certificate: bytes
    witness_key: bytes
    level: int
    invite_id: bytes | None
    nonce: bytes
    server_key: bytes
    invite_signature: bytes | None
    tls_signature: bytes
    witness_signature: bytes
    node_signature: bytes

    @property
    def statement(self) -> JoinStatement:
        """What the signatures are over."""
        return JoinStatement(
            self.invite_id, self.node_key, self.certificate, self.witness_key, self.server_key, self.level, self.nonce
        )


class MemberLevel(NamedTuple):
    """The data of `member.level`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    level: int
    cuts: list[tuple[FeedId, int, bytes]]


class MemberRemove(NamedTuple):
    """The data of `member.remove`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    cuts: list[tuple[FeedId, int, bytes]]
    reason: str


class FeedAdopt(NamedTuple):
    """The data of `feed.adopt`, in the order of its encoding."""

    after: list[SpanId]
    feed: FeedId
    size: int
    root: bytes


def join_statement(
    node_keys: NodeKeys, tenant: TenantId, invite_id: bytes | None, server_key: bytes, level: Level, nonce: bytes
) -> JoinStatement:
    """What a node says to the server that it joins through, with a 16-byte nonce."""
    certificate = tls_certificate(node_keys.tls_seed())
    witness_key = node_keys.witness_key(tenant).public
    return JoinStatement(invite_id, node_keys.public, certificate, witness_key, server_key, int(level), nonce)


def sign_join(
    node_keys: NodeKeys, tenant: TenantId, statement: JoinStatement, invite: KeyPair | None
) -> JoinSignatures:
    """The joiner's signatures of its statement; `invite` is the key of the invite that the statement names."""
    message = join_message(tenant, statement)
    return JoinSignatures(
        invite.sign(message) if invite else None,
        KeyPair(node_keys.tls_seed()).sign(message),
        node_keys.witness_key(tenant).sign(message),
        node_keys.sign_binding(message),
    )


def join_message(tenant: TenantId, statement: JoinStatement) -> bytes:
    """What the joiner and its invite sign."""
    return b"lognode join v1" + tenant + encode(list(statement))


def member_admit_data(after: Sequence[SpanId], statement: JoinStatement, signatures: JoinSignatures) -> bytes:
    """The data of the `member.admit` by which the server takes a joiner in."""
    return encode(
        [
            sorted(set(after)), statement.node_key, statement.certificate, statement.witness_key, statement.level,
            statement.invite_id, statement.nonce, statement.server_key, *signatures,
        ]
    )  # fmt: skip


def parse_member_admit(data: bytes) -> MemberAdmit:
    """The parts of `member.admit`, no binding checked. Raises CallerError("body.malformed")."""
    admit = MemberAdmit(*elements("member.admit", data, len(MemberAdmit._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(admit.after)
        or fault_of_bytes("node key", admit.node_key, KEY_BYTES)
        or (None if admit.certificate.__class__ is bytes else "certificate")
        or fault_of_bytes("witness key", admit.witness_key, KEY_BYTES)
        or fault_of_integer("level", admit.level, Level.OBSERVER, Level.ROOT)
        or fault_of_optional("invite id", admit.invite_id, INVITE_ID_BYTES)
        or fault_of_bytes("nonce", admit.nonce, NONCE_BYTES)
        or fault_of_bytes("server key", admit.server_key, KEY_BYTES)
        or fault_of_optional("invite's signature", admit.invite_signature, SIGNATURE_BYTES)
        or fault_of_bytes("TLS key's signature", admit.tls_signature, SIGNATURE_BYTES)
        or fault_of_bytes("witness key's signature", admit.witness_signature, SIGNATURE_BYTES)
        or fault_of_bytes("node key's signature", admit.node_signature, SIGNATURE_BYTES)
        or (
            None
            if (admit.invite_id is None) == (admit.invite_signature is None)
            else "invite and its signature go together"
        )
    )
    _refuse("member.admit", fault)
    return admit


def check_member_admit(tenant: TenantId, admit: MemberAdmit) -> None:
    """Pass if the joiner's own keys signed its statement. Raises CallerError("binding.invalid")."""
    message = join_message(tenant, admit.statement)
    signed = (
        ("node", admit.node_key, admit.node_signature),
        ("TLS", certificate_key(admit.certificate), admit.tls_signature),
        ("witness", admit.witness_key, admit.witness_signature),
    )
    for name, key, signature in signed:
        if not verify_signature(key, message, signature):
            raise CallerError("binding.invalid", f"the {name} key did not sign this join statement")


def check_invite_signature(tenant: TenantId, admit: MemberAdmit, invite_key: bytes) -> None:
    """Pass if the invite with this key signed the statement. Raises CallerError("binding.invalid")."""
    if not verify_signature(invite_key, join_message(tenant, admit.statement), admit.invite_signature or b""):
        raise CallerError("binding.invalid", "the invite's key did not sign this join statement")


def member_level_data(after: Sequence[SpanId], node_key: bytes, level: Level, cuts: Cuts = ()) -> bytes:
    """The data of the `member.level` that gives a member another level; `cuts`, where it is lower, as for removal."""
    return encode([sorted(set(after)), node_key, int(level), _sorted(cuts)])


def parse_member_level(data: bytes) -> MemberLevel:
    """The parts of `member.level`. Raises CallerError("body.malformed")."""
    change = MemberLevel(*elements("member.level", data, len(MemberLevel._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(change.after)
        or fault_of_bytes("node key", change.node_key, KEY_BYTES)
        or fault_of_integer("level", change.level, Level.BLOCKED, Level.ROOT)
        or fault_of_cuts(change.cuts)
    )
    _refuse("member.level", fault)
    return change


def member_remove_data(after: Sequence[SpanId], node_key: bytes, cuts: Cuts, reason: str) -> bytes:
    """The data of the `member.remove` that ends a member's feeds at `cuts`; those that it leaves out go whole."""
    return encode([sorted(set(after)), node_key, _sorted(cuts), reason])


def parse_member_remove(data: bytes) -> MemberRemove:
    """The parts of `member.remove`. Raises CallerError("body.malformed")."""
    removal = MemberRemove(*elements("member.remove", data, len(MemberRemove._fields)))  # type: ignore[arg-type]
    is_text = removal.reason.__class__ is str and len(removal.reason.encode()) <= TEXT_BYTES_MAX
    fault = (
        fault_of_after(removal.after)
        or fault_of_bytes("node key", removal.node_key, KEY_BYTES)
        or fault_of_cuts(removal.cuts)
        or (None if is_text else f"reason is no text of at most {TEXT_BYTES_MAX} bytes")
    )
    _refuse("member.remove", fault)
    return removal


def feed_adopt_data(after: Sequence[SpanId], feed: FeedId, size: int, root: bytes) -> bytes:
    """The data of the `feed.adopt` that lets more of a cut feed count."""
    return encode([sorted(set(after)), feed, size, root])


def parse_feed_adopt(data: bytes) -> FeedAdopt:
    """The parts of `feed.adopt`. Raises CallerError("body.malformed")."""
    adopted = FeedAdopt(*elements("feed.adopt", data, len(FeedAdopt._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(adopted.after)
        or fault_of_bytes("feed", adopted.feed, FEED_ID_BYTES)
        or fault_of_integer("size", adopted.size, 1, SIZE_MAX)
        or fault_of_bytes("root", adopted.root, HASH_BYTES)
    )
    _refuse("feed.adopt", fault)
    return adopted


def _sorted(cuts: Cuts) -> list[list[object]]:
    return sorted([list(cut) for cut in cuts])


def _refuse(kind: str, fault: str | None) -> None:
    if fault:
        raise CallerError("body.malformed", f"{kind}: {fault}")
