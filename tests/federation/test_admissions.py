"""Admitting joiners: exactly as many as an invite lets in, and nothing to be learnt by anybody else."""

from collections.abc import Callable, Sequence
from typing import Final

import pytest
import trio
from structlog.testing import capture_logs

from lognode.core.access import Level
from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.federation.invites.invitation import Invitation
from lognode.federation.invites.messages import (
    Admitted,
    Answer,
    JoinRequest,
    Peer,
    Refused,
    Waiting,
    encode_request,
)
from lognode.federation.invites.service.admissions import REFUSED
from lognode.federation.invites.words import words_of
from lognode.timeline.control.invites import invite_revoke_data
from lognode.timeline.control.members import sign_join
from tests.federation.roots import Root, ask, founder, invite
from tests.timeline.members.nodes import NOW_MS, keys_of, pair_of


async def all_at_once(root: Root, requests: Sequence[JoinRequest]) -> list[Answer]:
    answers: list[Answer] = []

    async def one(request: JoinRequest) -> None:
        answers.append(await root.ask(request))

    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(one, request)
    return answers


def joiners(root: Root) -> set[bytes]:
    return set(root.of(0).members) - {root.node.world.founder.keys.public}


async def test_a_joiner_becomes_a_member_and_is_told_whom_to_sync_with() -> None:
    root = founder()
    answer = await root.ask(ask(root, invite(root), "joiner"))

    member = root.of(0).members[keys_of("joiner").public]
    assert answer == Admitted(member.admission, Level.TRUSTED, (Peer(root.node.keys.public, b"cert", ()),))
    assert root.noted == {keys_of("joiner").public: ("192.0.2.1:7481",)}


@pytest.mark.parametrize("uses", [1, 3])
async def test_of_a_thousand_redemptions_at_once_exactly_as_many_win_as_may(uses: int) -> None:
    root = founder()
    made = invite(root, uses=uses)
    answers = await all_at_once(root, [ask(root, made, f"joiner {number}") for number in range(1000)])

    assert sum(isinstance(answer, Admitted) for answer in answers) == uses == len(joiners(root))
    assert sum(answer == Refused("invite.used_up") for answer in answers) == 1000 - uses


async def test_the_same_joiner_a_thousand_times_at_once_is_one_use_and_one_answer() -> None:
    root = founder()
    made = invite(root)
    answers = await all_at_once(root, [ask(root, made, "joiner") for _ in range(1000)])

    assert len(set(answers)) == 1
    assert isinstance(answers[0], Admitted)
    assert joiners(root) == {keys_of("joiner").public}


async def test_a_replayed_request_gets_its_joiner_the_same_answer_and_nobody_else_in() -> None:
    root = founder()
    request = ask(root, invite(root), "joiner")

    assert await root.ask(request) == await root.ask(request)
    assert joiners(root) == {keys_of("joiner").public}


async def test_an_expired_invite_lets_nobody_in() -> None:
    root = founder()
    made = invite(root, expires_ms=root.now_ms - 1)

    assert await root.ask(ask(root, made, "joiner")) == Refused("invite.expired")
    assert joiners(root) == set()


async def test_a_revoked_invite_lets_nobody_in() -> None:
    root = founder()
    made = invite(root)
    (invite_id,) = root.of(0).invites
    root.node.write("invite.revoke", lambda after: invite_revoke_data(after, invite_id))

    assert await root.ask(ask(root, made, "joiner")) == Refused("invite.revoked")
    assert joiners(root) == set()


async def test_a_statement_for_another_root_is_refused() -> None:
    root = founder()
    made = invite(root)
    request = ask(root, made, "joiner", server=keys_of("another").public)

    assert await root.ask(request) == Refused("invite.server")
    assert joiners(root) == set()


async def test_an_invite_for_one_level_gives_no_other() -> None:
    root = founder()
    made = invite(root, level=Level.OBSERVER)

    assert await root.ask(ask(root, made._replace(level=Level.ROOT), "joiner")) == Refused("invite.level")
    assert joiners(root) == set()


async def test_a_joiner_states_no_key_that_did_not_sign() -> None:
    root = founder()
    made = invite(root)
    request = ask(root, made, "joiner")
    stated = request.statement._replace(node_key=keys_of("victim").public)
    signed = sign_join(keys_of("joiner"), request.tenant, stated, made.key)

    assert await root.ask(request._replace(statement=stated, signatures=signed)) == Refused("invite.unsigned")
    assert joiners(root) == set()


@pytest.mark.parametrize("state", ["open", "revoked", "used up"])
@pytest.mark.parametrize("whom", ["founder", "member", "blocked", "removed"])
async def test_who_holds_an_invite_learns_nothing_of_members_in_the_name_of_one(whom: str, state: str) -> None:
    """Not who they are nor where; and nothing is believed of where they can be reached."""
    root = founder()
    for name in ("member", "blocked", "removed"):
        root.node.admit(name)
    root.node.set_level("blocked", Level.BLOCKED)
    root.node.remove("removed")
    made = invite(root)
    if state == "revoked":
        (invite_id,) = root.of(0).invites
        root.node.write("invite.revoke", lambda after: invite_revoke_data(after, invite_id))
    if state == "used up":
        await root.ask(ask(root, made, "winner"))
    before = dict(root.noted)
    request = ask(root, made, "spy")
    stated = request.statement._replace(node_key=keys_of(whom).public)
    signed = sign_join(keys_of("spy"), request.tenant, stated, made.key)

    assert await root.ask(request._replace(statement=stated, signatures=signed)) == Refused("invite.unsigned")
    assert root.noted == before


async def test_what_a_member_said_to_another_root_gets_nobody_an_answer_here() -> None:
    root = founder()
    made = invite(root, uses=2)
    await root.ask(ask(root, made, "member"))

    assert await root.ask(ask(root, made, "member", server=keys_of("another").public)) == Refused("invite.server")


async def test_a_root_that_is_none_any_more_admits_nobody() -> None:
    first = founder()
    first.node.admit("second")
    second = Root(first.node.world.nodes["second"])
    made = invite(first)
    first.node.set_level("second", Level.TRUSTED)
    second.node.learn(first.node)

    assert await second.ask(ask(second, made, "joiner")) == Refused("invite.not_root")
    assert isinstance(await first.ask(ask(first, made, "joiner")), Admitted)


async def test_another_root_admits_while_the_inviter_is_off() -> None:
    first = founder()
    first.node.admit("second")
    second = Root(first.node.world.nodes["second"])
    made = invite(first)
    second.node.learn(first.node)

    assert isinstance(await second.ask(ask(second, made, "joiner")), Admitted)
    first.node.learn(second.node)
    assert joiners(first) == joiners(second) == {keys_of("second").public, keys_of("joiner").public}
    assert await first.ask(ask(first, made, "late")) == Refused("invite.used_up")


async def test_of_joiners_that_two_roots_admit_while_parted_one_is_a_member_everywhere() -> None:
    first = founder()
    first.node.admit("second")
    second = Root(first.node.world.nodes["second"])
    made = invite(first)
    second.node.learn(first.node)
    assert isinstance(await first.ask(ask(first, made, "one")), Admitted)
    assert isinstance(await second.ask(ask(second, made, "other")), Admitted)

    first.node.learn(second.node)
    second.node.learn(first.node)

    assert first.of(0).members == second.of(0).members
    assert len(joiners(first) & {keys_of("one").public, keys_of("other").public}) == 1


async def test_a_removed_node_does_not_come_back_by_the_invite_that_it_used() -> None:
    root = founder()
    made = invite(root, uses=5)
    await root.ask(ask(root, made, "joiner"))
    root.node.remove("joiner")

    assert await root.ask(ask(root, made, "joiner")) == Refused("member.removed")
    assert isinstance(await root.ask(ask(root, invite(root, "another"), "joiner")), Admitted)


async def test_a_blocked_node_is_told_so() -> None:
    root = founder()
    made = invite(root, uses=5)
    await root.ask(ask(root, made, "joiner"))
    root.node.set_level("joiner", Level.BLOCKED)

    assert await root.ask(ask(root, made, "joiner")) == Refused("member.removed")


# What anybody can send who holds no invite of this tenant that exists.
STRANGERS: Final[dict[str, Callable[[Root, Invitation], bytes]]] = {
    "noise": lambda _root, _made: b"noise",
    "nothing": lambda _root, _made: b"",
    "another tenant": lambda root, made: encode_request(ask(root, made._replace(tenant=TenantId(bytes(20))), "joiner")),
    "another invite": lambda root, made: encode_request(ask(root, made._replace(seed=bytes(32)), "joiner")),
    "another invite's signature": lambda root, made: encode_request(forged(ask(root, made, "joiner"))),
    "one bit changed": lambda root, made: changed(encode_request(ask(root, made, "joiner"))),
    "more bytes": lambda root, made: encode_request(ask(root, made, "joiner")) + b"x",
    "far too many bytes": lambda _root, _made: bytes(100_000),
}


def forged(request: JoinRequest) -> JoinRequest:
    signed = sign_join(keys_of("joiner"), request.tenant, request.statement, pair_of("stranger"))
    return request._replace(signatures=signed)


def changed(data: bytes) -> bytes:
    at = data.index(keys_of("joiner").public)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("state", ["open", "expired", "revoked", "used up"])
async def test_who_holds_no_invite_gets_the_same_bytes_whatever_there_is(name: str, state: str) -> None:
    root = founder()
    made = invite(root, expires_ms=root.now_ms - 1 if state == "expired" else NOW_MS * 2)
    if state == "revoked":
        (invite_id,) = root.of(0).invites
        root.node.write("invite.revoke", lambda after: invite_revoke_data(after, invite_id))
    if state == "used up":
        await root.ask(ask(root, made, "winner"))

    assert await root.admissions.answer(STRANGERS[name](root, made)) == REFUSED
    assert joiners(root) <= {keys_of("winner").public}


async def test_the_log_says_once_that_a_joiner_waits_and_by_which_words() -> None:
    root = founder()
    request = ask(root, invite(root, approve=True), "joiner")
    with capture_logs() as logs:
        await root.ask(request)
        await root.ask(request)

    (said,) = [line for line in logs if line["event"] == "joiner_waits"]
    assert said["words"] == words_of(root.tenant.tenant_id, keys_of("joiner").public, root.node.keys.public)
    assert said["hint"] == "lognode member pending"


async def test_a_joiner_that_a_person_has_to_approve_waits_until_then() -> None:
    root = founder()
    made = invite(root, approve=True)
    key = keys_of("joiner").public

    assert isinstance(await root.ask(ask(root, made, "joiner")), Waiting)
    assert isinstance(await root.ask(ask(root, made, "joiner")), Waiting)
    assert [petition.node_key for petition in await root.admissions.petitions(root.tenant)] == [key]
    assert joiners(root) == set()
    admission = await root.admissions.approve(root.tenant, key)

    answer = await root.ask(ask(root, made, "joiner"))
    assert isinstance(answer, Admitted)
    assert answer.admission == admission
    assert await root.admissions.petitions(root.tenant) == []


async def test_approving_checks_once_more() -> None:
    root = founder()
    made = invite(root, approve=True)
    for joiner in ("one", "other"):
        await root.ask(ask(root, made, joiner))
    await root.admissions.approve(root.tenant, keys_of("one").public)

    for joiner, code in (("other", "invite.used_up"), ("nobody", "member.not_waiting")):
        with pytest.raises(CallerError) as refused:
            await root.admissions.approve(root.tenant, keys_of(joiner).public)
        assert refused.value.code == code
    assert await root.admissions.petitions(root.tenant) == []


async def test_a_joiner_that_finds_the_disk_of_a_root_full_is_told_so() -> None:
    root = founder()
    made = invite(root, approve=True, uses=9)
    (pages,) = root._db.execute("PRAGMA page_count").fetchone()
    root._db.execute(f"PRAGMA max_page_count = {pages}")
    answers = [await root.ask(ask(root, made, f"joiner {number}")) for number in range(9)]

    assert answers[-1] == Refused("disk.full")


async def test_who_holds_one_invite_leaves_room_to_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.federation.invites.store.PETITIONS_EACH_MAX", 2)
    root = founder()
    made, other = invite(root, approve=True, uses=9), invite(root, "other", approve=True)
    for joiner in ("a", "b"):
        await root.ask(ask(root, made, joiner))

    assert await root.ask(ask(root, made, "c")) == Refused("invite.crowded")
    assert isinstance(await root.ask(ask(root, made, "a")), Waiting)
    assert isinstance(await root.ask(ask(root, other, "d")), Waiting)


async def test_who_waits_is_counted_and_goes_with_its_invite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.federation.invites.store.PETITIONS_MAX", 2)
    root = founder()
    made = invite(root, approve=True, uses=9)
    for joiner in ("a", "b", "a"):
        assert isinstance(await root.ask(ask(root, made, joiner)), Waiting)
    assert await root.ask(ask(root, made, "c")) == Refused("invite.crowded")
    (invite_id,) = root.of(0).invites
    root.node.write("invite.revoke", lambda after: invite_revoke_data(after, invite_id))

    again = invite(root, "again", approve=True)
    assert isinstance(await root.ask(ask(root, again, "c")), Waiting)
    assert [petition.node_key for petition in await root.admissions.petitions(root.tenant)] == [keys_of("c").public]


async def test_checks_outside_the_writer_alone_would_let_too_many_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variant that a race breaks, so that the tests above are known to see one."""
    root = founder()
    made = invite(root)
    stale = root.of(0)
    monkeypatch.setattr(root, "of", lambda _tenant: stale)
    answers = await all_at_once(root, [ask(root, made, f"joiner {number}") for number in range(5)])

    assert sum(isinstance(answer, Admitted) for answer in answers) == 5
