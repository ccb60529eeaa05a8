"""Sync where something is wrong: peers that hang, lie, are removed, or are there twice."""

import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
import trio
import trio.testing

from lognode.core.clock import Clock
from lognode.core.ids import TenantId
from lognode.core.limits import READERS
from lognode.core.span import Entry
from lognode.federation.sync.service import holdings
from lognode.federation.sync.service.answers import Answers
from lognode.protocol.messages import Follow, Hello, Push, Pushed, Ranges, Refused, Request
from lognode.protocol.summary import View
from lognode.protocol.wire import decode_answer, decode_request, encode_answer, encode_request
from tests.federation.linked import LinkedNode, open_node, wait_equal, wait_live, wait_until


async def link(one: LinkedNode, two: LinkedNode) -> None:
    await one.admit(two)
    two.meet(one)
    await wait_equal(one, two)
    await wait_live(two, one, "out")


def hello(tenant: TenantId) -> bytes:
    return encode_request(Hello(tenant, (1,), bytes(16), bytes(32), (), b""))


async def test_a_stranger_is_told_the_same_of_every_tenant(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        answers = Answers(one.ties, one.outside)
        stranger, here, nowhere = bytes(32), one.tenant.tenant_id, TenantId(bytes(20))
        told = {
            await answers.answer(asking, hello(tenant))
            for asking, tenant in ((stranger, here), (stranger, nowhere), (two.key, nowhere), (one.key, here))
        }
        followed = {
            frame
            for tenant in (here, nowhere)
            async for frame in answers.follow(stranger, encode_request(Follow(1, tenant, bytes(16))))
        }

        assert {decode_answer(answer) for answer in told | followed} == {Refused("peer.refused")}
        assert len(told | followed) == 1


async def test_who_is_removed_gets_no_further_byte_though_its_session_is_open(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        await two.append("before.removal")
        await wait_equal(one, two)
        await one.remove(two)
        sent = one.peer.sent
        await one.append(*["after.removal"] * 10)
        two.links.ask(two.tenant)

        async def is_refused() -> bool:
            return two.status(one).state == "refused"

        await wait_until(is_refused)
        assert one.peer.sent == sent
        assert one.links.status(one.tenant) == []
        assert two.status(one).error is not None


async def test_a_node_that_asks_for_the_membership_once_a_session_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        tie = one.ties.tie(two.key, one.tenant)
        monkeypatch.setattr(one.ties, "admit", lambda _node_key, _tenant_id: tie)
        monkeypatch.setattr(one.peer.door, "recheck", lambda: None)
        monkeypatch.setattr(one.app, "recheck", lambda: None)
        await one.remove(two)
        sent = one.peer.sent
        await one.append("after.removal")

        async def has_leaked() -> bool:
            return one.peer.sent > sent

        await wait_until(has_leaked)


async def test_beyond_the_cut_of_a_removal_all_is_void_whatever_came_first(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(open_node(tmp_path, number)) for number in (1, 2, 3)]
        await link(one, two)
        await link(one, three)
        await two.append("in.time")
        await wait_equal(one, two, three)
        async with open_node(tmp_path, 4) as late:
            await link(three, late)
            await wait_equal(one, two, three, late)
        # Only the third node hears of what the second says last, and only the first knows that it is out.
        await one.remove(two)
        late_range = await two.append_alone("too.late")
        assert (await three.writer.ingest(three.tenant, late_range))[0] == late_range[0].stop
        three.links.ask(three.tenant)
        await wait_equal(one, three)

        for node in (one, three):
            kinds = await node.kinds()
            assert (kinds["in.time"], kinds["too.late"]) == (1, 0)
        async with open_node(tmp_path, 4) as late:
            late.meet(three)
            await wait_equal(one, three, late)
            assert (await late.kinds())["too.late"] == 0


async def test_who_says_what_is_long_to_read_is_made_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked_s = 0.0

    def toil(body: bytes) -> Request:
        nonlocal worked_s
        worked_s += 10 if body == b"toil" else 0
        return decode_request(body)

    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        answers, asked = Answers(one.ties, one.outside), hello(one.tenant.tenant_id)
        monkeypatch.setattr("lognode.federation.sync.service.answers.decode_request", toil)
        monkeypatch.setattr("lognode.federation.sync.service.answers.time.thread_time", lambda: worked_s)

        assert decode_answer(await answers.answer(two.key, b"toil")) == Refused("message.too_large")
        assert decode_answer(await answers.answer(two.key, asked)) == Refused("peer.busy")
        assert worked_s == 10
        assert isinstance(decode_answer(await answers.answer(bytes(32), asked)), Refused)


@pytest.mark.parametrize("tenants", [1, 5])
async def test_whatever_members_read_leaves_a_reader_to_this_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenants: int
) -> None:
    going, allowed = 0, threading.Event()

    def read_for_long(_conn: object, _tenant: object) -> View:
        nonlocal going
        going += 1
        assert allowed.wait(30)
        return View(Clock(), {})

    monkeypatch.setattr(holdings, "_view", read_for_long)
    async with open_node(tmp_path, 1, serves=False) as one, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one.outside.held.view, one.tenant._replace(number=90 + number % tenants))
        await trio.testing.wait_all_tasks_blocked(0.05)
        try:
            with trio.fail_after(20):
                await one.store.read(lambda _conn: None)
            assert going == min(tenants, READERS - 1)
        finally:
            allowed.set()


async def test_a_peer_that_hangs_delays_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(open_node(tmp_path, number)) for number in (1, 2, 3)]
        await link(one, two)
        await link(one, three)
        hanging = Answers.answer

        async def hang(self: Answers, node_key: bytes, body: bytes) -> bytes:
            if node_key == two.key:
                await trio.sleep_forever()
            return await hanging(self, node_key, body)

        monkeypatch.setattr(Answers, "answer", hang)
        two.links.ask(two.tenant)
        await two.append("never.arrives")
        await three.append("a.b")
        await wait_equal(one, three)


def tampered(answer: bytes, feed: bytes) -> bytes:
    """An answer as it is, save that one byte of the last header of a feed is another."""
    decoded = decode_answer(answer)
    if not isinstance(decoded, Ranges):
        return answer
    ranges = [
        part._replace(entries=[*part.entries[:-1], with_changed_byte(part.entries[-1])]) if part.feed == feed else part
        for part in decoded.ranges
    ]
    return encode_answer(Ranges(ranges), 1)


def with_changed_byte(entry: Entry) -> Entry:
    return entry._replace(header=entry.header[:-1] + bytes([entry.header[-1] ^ 1]))


async def test_one_feed_that_is_not_what_was_signed_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(open_node(tmp_path, number)) for number in (1, 2, 3)]
        await link(one, two)
        poisoned = next(feed.feed_id for feed in one.store.feeds.values() if feed.own)
        answer, follow = Answers.answer, Answers.follow

        async def answer_wrongly(self: Answers, node_key: bytes, body: bytes) -> bytes:
            answered = await answer(self, node_key, body)
            return tampered(answered, poisoned) if node_key == three.key else answered

        async def follow_wrongly(self: Answers, node_key: bytes, body: bytes) -> AsyncGenerator[bytes]:
            async with aclosing(follow(self, node_key, body)) as frames:
                async for frame in frames:
                    yield tampered(frame, poisoned) if node_key == three.key else frame

        monkeypatch.setattr(Answers, "answer", answer_wrongly)
        monkeypatch.setattr(Answers, "follow", follow_wrongly)
        await two.append("sound")
        await two.admit(three)
        await three.learn_from(two)
        three.meet(two)

        async def is_refused() -> bool:
            status = three.status(two)
            codes = [want.code for want in status.wants if want.feed == poisoned]
            return codes == ["range.unproven"] and (await three.kinds())["sound"] == 1

        await wait_until(is_refused)
        error = three.status(two).error
        assert error is not None
        assert error.code == "range.unproven"
        assert three.status(two).lag_spans >= 1
        monkeypatch.undo()
        three.links.ask(three.tenant)
        await wait_equal(one, two, three)
        await wait_until(lambda: no_error(three, two))


async def no_error(node: LinkedNode, other: LinkedNode) -> bool:
    return node.status(other).error is None


async def test_two_copies_of_a_node_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        async with open_node(tmp_path / "copy", 2) as copy:
            copy.tenant = await copy.writer.adopt_tenant(one.tenant.tenant_id, "shared")
            await copy.learn_from(one)
            copy.meet(one)
            copy.links.attend(copy.tenant)

            async def is_noticed() -> bool:
                for node in (two, copy):
                    node.links.ask(node.tenant)
                error = one.status(two).error
                return error is not None and error.code == "identity.cloned"

            await wait_until(is_noticed)


async def test_what_a_peer_pushes_and_is_refused_is_wanted_of_it_still(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        await two.append("opens.its.feed")
        (part,) = await two.append_alone("a.b")
        await wait_equal(one, two)
        wrong = part._replace(entries=[with_changed_byte(entry) for entry in part.entries], start=part.stop)
        push = encode_request(Push(1, one.tenant.tenant_id, [wrong], ()))
        answered = decode_answer(await Answers(one.ties, one.outside).answer(two.key, push))
        status = one.status(two)

        assert answered == Pushed(("range.unproven",))
        assert [(want.feed, want.start, want.code) for want in status.wants] == [
            (part.feed, part.stop, "range.unproven")
        ]
        assert (status.lag_spans, status.error and status.error.code) == (len(wrong.entries), "range.unproven")
        two.links.ask(two.tenant)
        await wait_until(lambda: no_error(one, two))
        assert one.status(two).wants == ()
