"""Invites among nodes with real stores and writers: exactly one joins wherever one is allowed, and all agree who."""

from pathlib import Path

import pytest
import trio

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.ids import b32encode
from lognode.federation.invites.invitation import format_invitation, parse_invitation
from lognode.federation.invites.messages import Admitted, Refused, decode_answer, encode_request, sign_request
from lognode.timeline.store.read.ranges import read_clock
from tests.federation.parties import DAY_MS, Party, Street, sync
from tests.timeline.members.nodes import keys_of


@pytest.fixture
async def street(tmp_path: Path, nursery: trio.Nursery) -> Street:
    return Street(tmp_path, nursery)


async def code_of(joiner: Party, text: str) -> str:
    with pytest.raises(LognodeError) as refused:
        await joiner.join(text)
    return refused.value.code


async def test_a_node_joins_and_holds_what_its_root_holds(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        old = joiner.tenant.tenant_id
        joined = await joiner.join(await founder.invite())

        assert (joined.state, joined.level, joined.alias) == ("member", Level.TRUSTED, "default")
        assert joiner.tenant.tenant_id == founder.tenant.tenant_id
        assert joiner.store.tenants[b32encode(old)].alias is None
        assert joiner.membership.members == founder.membership.members
        assert founder.level("joiner") == Level.TRUSTED
        await joiner.writer.append(joiner.tenant, [Draft(kind="note", title="mine")])
        await sync(founder, joiner)
        assert joiner.membership == founder.membership


async def test_a_node_with_records_of_its_own_keeps_its_default_tenant(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        old = joiner.tenant
        await joiner.writer.append(old, [Draft(kind="note", title="mine")])
        joined = await joiner.join(await founder.invite())

        assert joiner.tenant == old
        assert joined.alias == b32encode(founder.tenant.tenant_id)[:8]
        assert joiner.store.tenants[joined.alias].tenant_id == founder.tenant.tenant_id


async def test_a_thousand_redemptions_at_once_let_one_in(street: Street) -> None:
    async with street.open("founder") as founder:
        invitation = parse_invitation(await founder.invite())
        requests = [
            encode_request(sign_request(keys_of(f"joiner {number}"), invitation, founder.keys.public, bytes(16), ()))
            for number in range(1000)
        ]
        answers = []

        async def redeem(request: bytes) -> None:
            answers.append(decode_answer(await founder.desk.admissions.answer(request)))

        async with trio.open_nursery() as nursery:
            for request in requests:
                nursery.start_soon(redeem, request)
        assert sum(isinstance(answer, Admitted) for answer in answers) == 1
        assert answers.count(Refused("invite.used_up")) == 999
        assert len(founder.membership.members) == 2


async def test_joining_again_is_harmless_and_asks_nobody(street: Street) -> None:
    async with street.open("joiner") as joiner:
        async with street.open("founder") as founder:
            text = await founder.invite()
            first = await joiner.join(text)
        again = await joiner.join(text)  # nobody is there to be asked

        assert again._replace(server_key=first.server_key, words=first.words) == first


async def test_expired_revoked_and_used_up_invites_say_so(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner, street.open("other") as other:
        brief, revoked, used = await founder.invite(expires_ms=1000), await founder.invite(), await founder.invite()
        for invite_id, invite in founder.desk.invites.all(founder.tenant).items():
            if invite.invite_key == parse_invitation(revoked).key.public:
                assert await founder.desk.invites.revoke(founder.tenant, invite_id) is not None
                assert await founder.desk.invites.revoke(founder.tenant, invite_id) is None
        street.now_ms += 2000
        await other.join(used)

        assert await code_of(joiner, brief) == "invite.expired"
        assert await code_of(joiner, revoked) == "invite.revoked"
        assert await code_of(joiner, used) == "invite.used_up"
        states = {founder.desk.invites.state(invite) for invite in founder.desk.invites.all(founder.tenant).values()}
        assert states == {"expired", "revoked", "used_up"}
        assert len(founder.membership.members) == 2


async def test_another_tenant_key_or_server_gets_nobody_in(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.federation.invites.service.joining.JOIN_SEARCH_S_MAX", 0.01)
    async with street.open("founder") as founder, street.open("other") as other, street.open("joiner") as joiner:
        made = parse_invitation(await founder.invite())
        theirs = parse_invitation(await other.invite())
        tampered = {
            "another tenant": made._replace(tenant=theirs.tenant),
            "another key": made._replace(seed=bytes(32)),
            "another level": made._replace(level=Level.ROOT),
            "another server": made._replace(servers=(made.servers[0]._replace(node_key=other.keys.public),)),
            "another address": made._replace(
                servers=(made.servers[0]._replace(addresses=theirs.servers[0].addresses),)
            ),
        }
        codes = {name: await code_of(joiner, format_invitation(invite)) for name, invite in tampered.items()}

        assert codes == {
            "another tenant": "invite.refused",
            "another key": "invite.refused",
            "another level": "invite.level",
            "another server": "invite.server",
            "another address": "invite.unanswered",
        }
        assert len(founder.membership.members) == len(other.membership.members) == 1


async def test_an_invite_holds_across_restarts_of_both(street: Street) -> None:
    async with street.open("founder") as founder:
        text = await founder.invite()
    async with street.open("founder"), street.open("joiner") as joiner:
        assert (await joiner.join(text)).state == "member"
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        assert (await joiner.join(text)).state == "member"
        assert founder.membership == joiner.membership
        assert len(founder.membership.members) == 2


async def test_a_joiner_that_died_before_it_adopted_the_tenant_is_one_use(street: Street) -> None:
    async with street.open("founder") as founder:
        text = await founder.invite()
        invitation = parse_invitation(text)
        lost = sign_request(keys_of("joiner"), invitation, founder.keys.public, bytes(16), ())
        first = decode_answer(await founder.desk.admissions.answer(encode_request(lost)))
        async with street.open("joiner") as joiner:
            assert (await joiner.join(text)).state == "member"
        assert isinstance(first, Admitted)
        assert founder.membership.members[keys_of("joiner").public].admission == first.admission


async def test_a_node_that_ends_before_the_first_spans_came_goes_on_when_it_is_back(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.federation.invites.service.joining.JOIN_PROOF_S_MAX", 0.01)
    async with street.open("founder") as founder:
        street.cut_off.add(frozenset({"founder", "joiner"}))
        async with street.open("joiner") as joiner:
            joined = await joiner.join(await founder.invite())
            assert (joined.state, joiner.tenant.tenant_id == founder.tenant.tenant_id) == ("syncing", False)
        street.cut_off.clear()
        async with street.open("joiner") as joiner:
            number = joiner.store.tenants[b32encode(founder.tenant.tenant_id)].number
            await joiner.standings.wait_change(number, joiner.standings.version(number))
            assert joiner.standings.of(number).members == founder.membership.members


async def test_another_root_admits_while_the_inviter_is_off(street: Street) -> None:
    async with street.open("second") as second:
        async with street.open("founder") as founder:
            await second.join(await founder.invite(Level.ROOT))
            founder.desk.invites._directory.reached(second.keys.public, second.whereabouts.addresses("peer")[0])
            text = await founder.invite()
            await sync(founder, second)
        async with street.open("joiner") as joiner:
            joined = await joiner.join(text)
            assert joined.server_key == second.keys.public
        async with street.open("founder") as founder:
            await sync(founder, second)
            assert founder.membership == second.membership
            assert founder.level("joiner") == Level.TRUSTED


async def test_two_roots_that_admit_at_once_while_parted_end_with_one_joiner_everywhere(street: Street) -> None:
    async with (
        street.open("founder") as founder,
        street.open("second") as second,
        street.open("one") as one,
        street.open("other") as other,
    ):
        await second.join(await founder.invite(Level.ROOT))
        founder.desk.invites._directory.reached(second.keys.public, second.whereabouts.addresses("peer")[0])
        text = await founder.invite()
        await sync(founder, second)
        street.parted = {
            frozenset({"founder", "second"}),
            frozenset({"one", "second"}),
            frozenset({"other", "founder"}),
        }
        assert (await one.join(text)).server_key == founder.keys.public
        assert (await other.join(text)).server_key == second.keys.public
        for party in (one, other):
            await party.writer.append(party.tenant, [Draft(kind="note", title="before they met")])
        parties = (founder, second, one, other)
        tenant = founder.tenant
        for _ in range(2):
            for left in parties:
                for right in parties:
                    if left is not right:
                        await sync(left, right, tenant)

        numbers = [party.store.tenants[b32encode(tenant.tenant_id)].number for party in parties]
        found = [party.standings.of(number) for party, number in zip(parties, numbers, strict=True)]
        assert found[0].members == found[1].members == found[2].members == found[3].members
        levels = {party: founder.level(party.name) for party in (one, other)}
        assert sorted(levels.values()) == [Level.BLOCKED, Level.TRUSTED]

        loser = min(levels, key=lambda party: levels[party])
        street.parted.clear()
        assert (await loser.join(await founder.invite())).state == "member"
        (receipt,) = await loser.writer.append(loser.tenant, [Draft(kind="note", title="in after all")])
        await sync(founder, loser)
        assert founder.level(loser.name) == Level.TRUSTED
        assert receipt.feed not in founder.membership.cuts
        assert receipt.feed in (await founder.store.read(read_clock, founder.tenant))


async def test_a_person_approves_also_after_a_restart(street: Street) -> None:
    async with street.open("joiner") as joiner:
        async with street.open("founder") as founder:
            text = await founder.invite(approve=True)
            assert (await joiner.join(text)).state == "pending"
        async with street.open("founder") as founder:
            (petition,) = await founder.desk.admissions.petitions(founder.tenant)
            assert petition.node_key == joiner.keys.public
            await founder.desk.admissions.approve(founder.tenant, petition.node_key)
            assert (await joiner.join(text)).state == "member"


async def test_a_removed_member_is_out_by_what_was_held_of_it(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        text = await founder.invite(uses=3)
        await joiner.join(text)
        await joiner.writer.append(joiner.tenant, [Draft(kind="note", title="before")])
        await sync(founder, joiner)
        await joiner.writer.append(joiner.tenant, [Draft(kind="note", title="unseen")])
        receipt = await founder.desk.changes.remove(founder.tenant, joiner.keys.public, "lost")
        assert receipt is not None
        assert receipt.feed == next(feed.feed_id for feed in founder.store.feeds.values() if feed.own)
        await sync(founder, joiner)

        assert founder.level("joiner") == Level.BLOCKED
        (cut,) = joiner.membership.cuts.values()
        assert cut.size == 3  # feed.open, a merge of what the founder wrote, and what the founder held
        with pytest.raises(CallerError) as refused:
            await joiner.writer.append_control(joiner.tenant, "invite.create", lambda _members, _after: b"")
        assert refused.value.code == "member.removed"
        assert await code_of(joiner, text) == "member.removed"


async def test_removing_twice_changes_nothing_and_a_removed_member_has_no_level(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        await joiner.join(await founder.invite())
        changes, key = founder.desk.changes, joiner.keys.public
        first = await changes.remove(founder.tenant, key, "lost")
        before = await founder.store.read(read_clock, founder.tenant)

        assert first is not None
        assert await changes.remove(founder.tenant, key, "again") is None
        assert await founder.store.read(read_clock, founder.tenant) == before
        with pytest.raises(CallerError) as refused:
            await changes.change_level(founder.tenant, key, Level.ROOT)
        assert refused.value.code == "member.gone"


async def test_a_vote_to_remove_says_how_many_are_missing_and_is_cast_once(street: Street) -> None:
    async with street.open("founder") as founder, street.open("one") as one, street.open("two") as two:
        for joiner in (one, two):
            await joiner.join(await founder.invite(Level.ROOT))
            await sync(founder, joiner)
        await sync(founder, one)
        key = founder.keys.public
        assert await one.desk.changes.remove(one.tenant, key, "gone") is not None
        before = await one.store.read(read_clock, one.tenant)
        assert await one.desk.changes.remove(one.tenant, key, "gone") is None
        assert await one.store.read(read_clock, one.tenant) == before

        poll = one.membership.polls[key]
        assert (poll.voters, poll.needed) == ((one.keys.public,), 2)
        await sync(one, two)
        assert two.membership.polls == one.membership.polls
        await two.desk.changes.remove(two.tenant, key, "gone")
        assert (two.membership.polls, two.level("founder")) == ({}, Level.BLOCKED)


async def test_an_invite_that_expired_says_so_also_where_no_root_answers(street: Street) -> None:
    async with street.open("joiner") as joiner:
        async with street.open("founder") as founder:
            text = await founder.invite(expires_ms=1000)
        street.now_ms += 2000
        assert await code_of(joiner, text) == "invite.expired"


async def test_a_removed_member_that_knows_nothing_of_it_joins_by_a_new_invite(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        await joiner.join(await founder.invite())
        await joiner.writer.append(joiner.tenant, [Draft(kind="note", title="before")])
        await sync(founder, joiner)
        await founder.desk.changes.remove(founder.tenant, joiner.keys.public, "lost")
        assert joiner.level("joiner") == Level.TRUSTED
        joined = await joiner.join(await founder.invite())
        await joiner.writer.append(joiner.tenant, [Draft(kind="note", title="after")])
        await sync(founder, joiner)

        assert (joined.state, founder.level("joiner")) == ("member", Level.TRUSTED)
        assert len([feed for feed in founder.store.feeds.values() if feed.node_key == joiner.keys.public]) == 2
        assert founder.membership == joiner.membership


async def test_the_last_root_stays_root(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        await joiner.join(await founder.invite())
        for change in (
            founder.desk.changes.remove(founder.tenant, founder.keys.public, "by mistake"),
            founder.desk.changes.change_level(founder.tenant, founder.keys.public, Level.OBSERVER),
        ):
            with pytest.raises(CallerError) as refused:
                await change
            assert refused.value.code == "member.last_root"
        await founder.desk.changes.change_level(founder.tenant, joiner.keys.public, Level.ROOT)
        await founder.desk.changes.remove(founder.tenant, founder.keys.public, "on purpose")

        assert founder.level("founder") == Level.BLOCKED


async def test_levels_change_and_only_roots_invite(street: Street) -> None:
    async with street.open("founder") as founder, street.open("joiner") as joiner:
        await joiner.join(await founder.invite(Level.ROOT))
        key = joiner.keys.public
        assert await founder.desk.changes.change_level(founder.tenant, key, Level.ROOT) is None
        for level, code in ((Level.TRUSTED, "member.not_root"), (Level.OBSERVER, "member.observer")):
            assert await founder.desk.changes.change_level(founder.tenant, key, level) is not None
            await sync(founder, joiner)
            with pytest.raises(LognodeError) as refused:
                await joiner.invite()
            assert refused.value.code == code
        for change in (
            founder.desk.changes.change_level(founder.tenant, bytes(32), Level.ROOT),
            founder.desk.changes.remove(founder.tenant, bytes(32), ""),
        ):
            with pytest.raises(CallerError) as unknown:
                await change
            assert unknown.value.code == "member.unknown"


async def test_who_is_not_reached_is_told_by_the_last_address(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.federation.invites.service.joining.JOIN_SEARCH_S_MAX", 0.01)
    async with street.open("joiner") as joiner:
        async with street.open("founder") as founder:
            text = await founder.invite(expires_ms=DAY_MS)
        with pytest.raises(NodeFault) as failed:
            await joiner.join(text)
        assert failed.value.code == "invite.unanswered"
        assert "127.0.0.1" in failed.value.detail
