"""The data of member, invite and identity control spans: one form each, and bound to the keys that it names."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import KeyPair, NodeKeys, verify_signature
from lognode.timeline.control import identities, invites, members, policies
from lognode.timeline.control.shown import control_json

TENANT: Final = TenantId(b"t" * 20)
SERVER: Final = NodeKeys.from_seed(b"s" * 32)
JOINER: Final = NodeKeys.from_seed(b"j" * 32)
NEW: Final = NodeKeys.from_seed(b"n" * 32)
INVITE: Final = KeyPair(b"i" * 32)
RECOVERY: Final = KeyPair(b"r" * 32)
AFTER: Final = [SpanId(b"b" * 24), SpanId(b"a" * 24)]
CUTS: Final = [(FeedId(b"g" * 16), 7, bytes(32)), (FeedId(b"f" * 16), 1, b"x" * 32)]
INVITE_ID: Final = invites.invite_id(TENANT, INVITE.public)
STATEMENT: Final = members.join_statement(JOINER, TENANT, INVITE_ID, SERVER.public, Level.TRUSTED, b"o" * 16)
SIGNATURES: Final = members.sign_join(JOINER, TENANT, STATEMENT, INVITE)
LONE: Final = STATEMENT._replace(invite_id=None)
OLD_SIGN: Final = JOINER.sign_binding


class Case(NamedTuple):
    """A kind, data of it, and how it is parsed and checked."""

    kind: str
    data: bytes
    parse: Callable[[bytes], Any]
    check: Callable[[Any], object] = lambda parsed: parsed

    def read(self, data: bytes) -> None:
        self.check(self.parse(data))


def check_admit(admit: members.MemberAdmit) -> None:
    members.check_member_admit(TENANT, admit)
    if admit.invite_id is not None:
        members.check_invite_signature(TENANT, admit, INVITE.public)


def check_rotation_by(key: bytes) -> Callable[[identities.IdentityRotate], None]:
    def check(rotation: identities.IdentityRotate) -> None:
        identities.check_identity_rotate(TENANT, SERVER.public, rotation)
        if not identities.is_rotated_by(TENANT, SERVER.public, rotation, key):
            raise CallerError("binding.invalid", "the old key did not sign")

    return check


def check_revocation(revoked: identities.IdentityRevoke) -> None:
    if not identities.is_revoked_by(TENANT, SERVER.public, revoked, RECOVERY.public):
        raise CallerError("binding.invalid", "the recovery key did not sign")


ADMIT: Final = Case(
    "member.admit",
    members.member_admit_data(AFTER, STATEMENT, SIGNATURES),
    members.parse_member_admit,
    check_admit,
)
ROTATE: Final = Case(
    "identity.rotate",
    identities.identity_rotate_data(JOINER.public, OLD_SIGN, NEW, TENANT, SERVER.public, AFTER, CUTS),
    identities.parse_identity_rotate,
    check_rotation_by(JOINER.public),
)
CASES: Final = {
    "admit": ADMIT,
    "admit without invite": ADMIT._replace(
        data=members.member_admit_data(AFTER, LONE, members.sign_join(JOINER, TENANT, LONE, None))
    ),
    "level": Case(
        "member.level",
        members.member_level_data(AFTER, JOINER.public, Level.OBSERVER, CUTS),
        members.parse_member_level,
    ),
    "remove": Case(
        "member.remove", members.member_remove_data(AFTER, JOINER.public, CUTS, "left"), members.parse_member_remove
    ),
    "adopt": Case("feed.adopt", members.feed_adopt_data(AFTER, *CUTS[0]), members.parse_feed_adopt),
    "policy": Case(
        "tenant.policy", policies.tenant_policy_data(AFTER, "price.set", "manual"), policies.parse_tenant_policy
    ),
    "invite": Case(
        "invite.create",
        invites.invite_create_data(AFTER, INVITE.public, Level.TRUSTED, 3, 1_800_000_000_000, approve=True),
        invites.parse_invite_create,
    ),
    "invite revoked": Case("invite.revoke", invites.invite_revoke_data(AFTER, INVITE_ID), invites.parse_invite_revoke),
    "rotate": ROTATE,
    "rotate by recovery key": ROTATE._replace(
        data=identities.identity_rotate_data(JOINER.public, RECOVERY.sign, NEW, TENANT, SERVER.public, AFTER, CUTS),
        check=check_rotation_by(RECOVERY.public),
    ),
    "recovery": Case(
        "identity.recovery",
        identities.identity_recovery_data(JOINER, RECOVERY.public, None, TENANT, AFTER),
        identities.parse_identity_recovery,
        lambda declared: identities.check_identity_recovery(TENANT, declared, None),
    ),
    "recovery replaced": Case(
        "identity.recovery",
        identities.identity_recovery_data(JOINER, INVITE.public, RECOVERY, TENANT, AFTER),
        identities.parse_identity_recovery,
        lambda declared: identities.check_identity_recovery(TENANT, declared, RECOVERY.public),
    ),
    "revoke": Case(
        "identity.revoke",
        identities.identity_revoke_data(JOINER.public, RECOVERY, TENANT, SERVER.public, AFTER, CUTS),
        identities.parse_identity_revoke,
        check_revocation,
    ),
}


def code_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(CallerError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("name", CASES)
def test_what_is_built_is_read_and_shown(name: str) -> None:
    case = CASES[name]
    case.read(case.data)
    parsed = case.parse(case.data)
    assert encode(list(parsed)) == case.data
    assert parsed.after == sorted(AFTER)
    shown = control_json(case.kind, case.data)
    assert isinstance(shown, dict)
    assert list(shown) == list(parsed._fields)
    assert shown["after"] == [item.hex() for item in sorted(AFTER)]


@pytest.mark.parametrize("name", CASES)
def test_data_of_another_form_is_refused(name: str) -> None:
    case = CASES[name]
    parsed = list(case.parse(case.data))
    for data in (b"", b"\xff", encode([]), case.data + b"\x00", case.data[:-1], encode([*parsed, None])):
        assert code_of(case.parse, data) == "body.malformed"
    for place in range(len(parsed)):
        for wrong in (True, -1, 2**63, 1.5, "a" * 5000, b"", bytes(31), [b"a"], [[b"a", 1, 2]], {"a": 1}):
            data = encode([*parsed[:place], wrong, *parsed[place + 1 :]])
            assert code_of(case.read, data) in {"body.malformed", "binding.invalid"}, (place, wrong)


@pytest.mark.parametrize("name", ["admit", "admit without invite", "rotate", "recovery replaced", "revoke"])
def test_every_changed_byte_of_what_keys_sign_is_refused(name: str) -> None:
    case = CASES[name]
    unsigned = len(encode(case.parse(case.data).after)) + 1  # nobody's keys bind what an admission's author knew
    for at in range(unsigned, len(case.data)):
        changed = case.data[:at] + bytes([case.data[at] ^ 1]) + case.data[at + 1 :]
        assert code_of(case.read, changed) in {"body.malformed", "binding.invalid"}, at


def test_a_statement_holds_in_its_own_tenant_alone() -> None:
    admit = members.parse_member_admit(ADMIT.data)
    assert code_of(members.check_member_admit, TenantId(bytes(20)), admit) == "binding.invalid"
    assert invites.invite_id(TenantId(bytes(20)), INVITE.public) != INVITE_ID
    assert code_of(members.check_invite_signature, TENANT, admit, RECOVERY.public) == "binding.invalid"


def test_ids_and_messages_are_as_the_protocol_says() -> None:
    assert sha256(b"lognode invite v1" + TENANT + INVITE.public).digest()[:16] == INVITE_ID
    said = [
        INVITE_ID,
        JOINER.public,
        tls_certificate(JOINER.tls_seed()),
        JOINER.witness_key(TENANT).public,
        SERVER.public,
        2,
        b"o" * 16,
    ]
    message = b"lognode join v1" + TENANT + encode(said)
    assert verify_signature(JOINER.public, message, SIGNATURES.node)
    assert verify_signature(INVITE.public, message, SIGNATURES.invite or b"")


def test_nobody_joins_or_rotates_with_the_certificate_or_witness_key_of_another() -> None:
    for stolen in (
        {"certificate": tls_certificate(SERVER.tls_seed())},
        {"witness_key": SERVER.witness_key(TENANT).public},
    ):
        statement = STATEMENT._replace(**stolen)  # type: ignore[arg-type]
        signatures = members.sign_join(JOINER, TENANT, statement, INVITE)
        admit = members.parse_member_admit(members.member_admit_data([], statement, signatures))
        assert code_of(members.check_member_admit, TENANT, admit) == "binding.invalid"
        rotation = identities.parse_identity_rotate(ROTATE.data)._replace(**stolen)  # type: ignore[arg-type]
        message = b"lognode rotate v1" + TENANT + SERVER.public + encode(list(rotation[:6]))
        signed = rotation._replace(signature=OLD_SIGN(message), new_signature=NEW.sign_binding(message))
        assert code_of(identities.check_identity_rotate, TENANT, SERVER.public, signed) == "binding.invalid"


def test_a_recovery_key_is_replaced_by_its_own_signature_alone() -> None:
    alone = identities.parse_identity_recovery(CASES["recovery"].data)
    assert code_of(identities.check_identity_recovery, TENANT, alone, RECOVERY.public) == "binding.invalid"
    by_another = identities.identity_recovery_data(JOINER, INVITE.public, INVITE, TENANT, AFTER)
    replaced = identities.parse_identity_recovery(by_another)
    assert code_of(identities.check_identity_recovery, TENANT, replaced, RECOVERY.public) == "binding.invalid"


@pytest.mark.parametrize(
    "cuts",
    [
        [[b"f" * 16, 0, bytes(32)]],
        [[b"f" * 16, 1, bytes(31)]],
        [[b"f" * 15, 1, bytes(32)]],
        [[b"g" * 16, 1, bytes(32)], [b"f" * 16, 1, bytes(32)]],
        [[b"f" * 16, 1, bytes(32)], [b"f" * 16, 2, bytes(32)]],
        [[b"f" * 16, 1]],
        [None],
    ],
)
def test_cuts_have_one_form(cuts: list[object]) -> None:
    assert code_of(members.parse_member_remove, encode([[], JOINER.public, cuts, ""])) == "body.malformed"
    assert code_of(members.parse_member_level, encode([[], JOINER.public, 1, cuts])) == "body.malformed"


def test_levels_uses_and_answers_have_their_bounds() -> None:
    for level in (0, 4):
        admit = members.parse_member_admit(ADMIT.data)._replace(level=level)
        assert code_of(members.parse_member_admit, encode(list(admit))) == "body.malformed"
    for change in ({"uses": 0}, {"uses": 10_001}, {"approve": 2}, {"level": 0}, {"expires_ms": 2**47}):
        invite = invites.parse_invite_create(CASES["invite"].data)._replace(**change)  # type: ignore[arg-type]
        assert code_of(invites.parse_invite_create, encode(list(invite))) == "body.malformed"
    assert members.parse_member_level(members.member_level_data([], JOINER.public, Level.BLOCKED)).level == 0


def test_levels_are_shown_by_name() -> None:
    shown = control_json("member.level", CASES["level"].data)
    assert isinstance(shown, dict)
    assert shown["level"] == "observer"
    assert shown["cuts"] == [[(b"f" * 16).hex(), 1, (b"x" * 32).hex()], [(b"g" * 16).hex(), 7, bytes(32).hex()]]


def test_what_gives_up_a_key_holds_in_the_feeds_of_its_carrier_alone() -> None:
    rotation = identities.parse_identity_rotate(ROTATE.data)
    assert code_of(identities.check_identity_rotate, TENANT, NEW.public, rotation) == "binding.invalid"
    assert not identities.is_rotated_by(TENANT, NEW.public, rotation, JOINER.public)
    revoked = identities.parse_identity_revoke(CASES["revoke"].data)
    assert not identities.is_revoked_by(TENANT, NEW.public, revoked, RECOVERY.public)
