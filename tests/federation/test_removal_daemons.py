"""Removals and crossing admissions among real daemons, some of them off at the time."""

from collections.abc import Callable
from typing import Final

from lognode.client import Draft
from tests.federation.daemons import Node, wait_equal, wait_for

WEIGHTY: Final = {"text": "x" * 2000}


def join(joiner: Node, root: Node, level: str = "trusted") -> str:
    """Have a node join; the invite by which it did."""
    text = root.client.create_invite(level=level)["invite"]
    joiner.client.join(text)
    return text


def test_a_removed_node_with_an_open_session_gets_no_further_span(start: Callable[..., Node]) -> None:
    first, second, third = start("first"), start("second"), start("third")
    for node in (second, third):
        join(node, first)
    first.append("before")
    wait_equal(first, second, third)
    wait_for(lambda: third.link(first) == first.link(third) == "live")

    assert first.client.remove_member(third.key)["effective"]
    received = third.metric("lognode_peer_received_bytes_total")
    first.client.append_batch([Draft(kind="after.removal", data=WEIGHTY) for _ in range(50)])
    wait_for(lambda: second.kinds().get("after.removal") == 50)
    wait_for(lambda: third.link(first) == third.link(second) == "refused")

    assert "after.removal" not in third.kinds()
    assert third.metric("lognode_peer_received_bytes_total") - received < len(WEIGHTY["text"])
    assert third.codes() == {"member.refused"}
    shown = third.command.text("sync", "status")
    assert "[member.refused]\nhint: It was removed, or lost its invite" in shown
    assert "Hint" in (status := third.command.text("status"))
    assert "'lognode id rotate' ran on a copy of it" in shown
    assert "2 of 2 do, none has a session with it [member.refused]" in status
    assert first.members() == second.members()
    assert first.codes() == set()


def test_a_daemon_that_asks_once_who_is_a_member_is_found(start: Callable[..., Node]) -> None:
    first, second = start("first", patch="trusting"), start("second")
    join(second, first)
    wait_equal(first, second)
    wait_for(lambda: second.link(first) == first.link(second) == "live")
    assert first.client.remove_member(second.key)["effective"]
    first.client.append(Draft(kind="after.removal"))
    wait_for(lambda: "after.removal" in second.kinds())


def test_mutual_removals_end_equal_everywhere(start: Callable[..., Node]) -> None:
    senior, junior, third = start("senior"), start("junior"), start("third")
    for node in (junior, third):
        join(node, senior, "root")
    wait_equal(senior, junior, third)
    of_senior, of_junior = senior.key, junior.key
    senior.daemon.stop()
    assert not junior.client.remove_member(of_senior)["effective"]  # a vote, as long as no more than half do so
    junior.append("beyond the cut")
    wait_equal(junior, third)
    junior.daemon.stop()
    third.daemon.stop()
    senior.daemon.start()
    assert senior.client.remove_member(of_junior)["effective"]
    third.daemon.start()
    wait_equal(senior, third)

    assert senior.members() == third.members()
    assert {level for node, level, removed in third.members() if not removed} == {"root"}
    assert [node for node, _, removed in third.members() if removed] == [of_junior]
    assert "beyond the cut" not in third.titles()
    ((code, count, author),) = senior.findings()
    assert third.findings() == {(code, count, author)}
    assert (code, author) == ("member.removed", of_junior)
    assert count >= 3  # two spans and its vote, and what it merged meanwhile
    assert f"{count} times [member.removed]" in third.command.text("sync", "status")
    junior.daemon.start()
    wait_for(lambda: junior.codes() == {"member.refused", "member.not_senior"})
    assert "beyond the cut" in junior.titles()

    join(junior, senior)
    junior.append("back again")
    wait_equal(senior, junior, third)
    assert senior.members() == junior.members() == third.members()
    assert senior.titles() == junior.titles() == third.titles() == {None, "back again"}
    assert senior.findings() == junior.findings() == third.findings()


def test_another_root_admits_while_the_inviter_is_off_and_all_were_restarted(start: Callable[..., Node]) -> None:
    inviter, other, joiner = start("inviter"), start("other"), start("joiner")
    join(other, inviter, "root")
    inviter.append("before")
    wait_for(lambda: [peer["addresses"] for peer in inviter.client.peers()["peers"]] != [[]])  # the invite names them
    text = inviter.client.create_invite()["invite"]
    wait_equal(inviter, other)
    for node in (inviter, other, joiner):
        node.daemon.stop()
    other.daemon.start()
    joiner.daemon.start()
    joined = joiner.client.join(text)
    wait_equal(other, joiner)
    assert (joined["state"], joined["server"]) == ("member", other.key)
    assert "before" in joiner.titles()
    inviter.daemon.start()
    wait_equal(inviter, other, joiner)
    assert inviter.members() == other.members() == joiner.members()
    assert len(inviter.members()) == 3
