"""Joining among real daemons, by the commands that people use."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from lognode.client import CallerError, Filter
from lognode.core.errors import PeerError
from lognode.federation.invites.invitation import Invitation, parse_invitation
from lognode.federation.invites.messages import Admitted, Refused, decode_answer, encode_request, sign_request
from lognode.federation.transport.redeemer import redeem
from tests.federation.daemons import WAIT_S_MAX, Node, wait_for
from tests.timeline.members.nodes import keys_of

JOINERS: Final = 24


def test_a_node_joins_reads_writes_is_restarted_and_removed(start: Callable[..., Node], tmp_path: Path) -> None:
    first, second = start("first"), start("second", "--mirror-dir", str(tmp_path / "mirror"), "--search", "default")
    first.append("from the first")
    text = first.command.text("invite", "create")
    joined = second.command.json("join", "-", stdin=text.encode())

    assert (joined["state"], joined["name"], joined["level"]) == ("member", "default", "trusted")
    words = {member["words"] for member in first.client.members()}
    assert joined["words"] in words
    wait_for(lambda: "from the first" in second.titles())
    wait_for(lambda: "from the first" in "".join(path.read_text() for path in (tmp_path / "mirror").rglob("*.ndjson")))
    wait_for(lambda: [span["title"] for span in second.client.spans(Filter(text="from"))] == ["from the first"])
    second.append("from the second")
    wait_for(lambda: "from the second" in first.titles())
    assert first.members() == second.members()
    for node in (first, second):
        node.daemon.restart()
    again = second.client.join(text)
    assert (again["state"], again["server"]) == ("member", None)
    first.append("after the restart")
    wait_for(lambda: "after the restart" in second.titles())

    key = next(member["node"] for member in second.client.members() if member["self"])
    assert first.client.remove_member(key, reason="test")["effective"]
    first.append("not for the second")
    second.append("too late")  # it is not told: it is told nothing any more
    time.sleep(1)
    assert "not for the second" not in second.titles()
    assert "too late" not in first.titles()
    for node in (first, second):
        assert text[40:80] not in node.daemon.log


def test_a_person_approves_by_the_words_that_the_joiner_shows(start: Callable[..., Node]) -> None:
    first, second = start("first"), start("second")
    text = first.command.text("invite", "create", "--approve", "--level", "observer")
    waiting = second.command.start("join", "-")
    assert waiting.stdin is not None
    waiting.stdin.write(text.encode())
    waiting.stdin.close()
    waiting.stdin = None
    wait_for(first.client.pending_members)
    (pending,) = first.client.pending_members()
    first.command.text("member", "approve", pending["words"])
    out, err = waiting.communicate(timeout=WAIT_S_MAX)

    assert waiting.returncode == 0, err.decode()
    assert pending["words"] in out.decode()
    assert "it is the default tenant" in out.decode()
    with pytest.raises(CallerError) as refused:
        second.append("I only observe")
    assert refused.value.code == "member.observer"


async def redeem_at_once(invitation: Invitation) -> Counter[str]:
    """What a daemon says to many joiners with one invite, over as many connections."""
    (server,) = invitation.servers
    said: Counter[str] = Counter()

    async def redeem_as(joiner: str) -> None:
        request = sign_request(keys_of(joiner), invitation, server.node_key, bytes(16), ())
        try:
            answer = decode_answer(await redeem(server.addresses, [server.tls_key], encode_request(request)))
        except PeerError as error:  # more connections of one address than there may be at once
            said[error.code] += 1
        else:
            assert isinstance(answer, Admitted | Refused)
            said["admitted" if isinstance(answer, Admitted) else answer.code] += 1

    async with trio.open_nursery() as nursery:
        for number in range(JOINERS):
            nursery.start_soon(redeem_as, f"joiner {number}")
    return said


def test_of_many_who_redeem_one_invite_at_a_daemon_at_once_one_gets_in(start: Callable[..., Node]) -> None:
    node = start("root")
    said = trio.run(redeem_at_once, parse_invitation(node.client.create_invite()["invite"]))

    assert said["admitted"] == 1
    assert said["invite.used_up"] > 0
    assert said.keys() <= {"admitted", "invite.used_up", "peer.unreachable", "peer.busy"}
    assert said.total() == JOINERS
    assert len(node.members()) == 2
