"""Two roots that cannot reach each other let somebody in by one invite for one; then the cable is mended."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from lognode.client import CallerError, Client, LognodeError, connect
from tests.daemon import LOGNODE
from tests.federation.daemons import WAIT_S_MAX, View, wait_equal, wait_for
from tests.network.namespaces import ROOT, Machine

HERE, THERE = "10.77.1.1", "10.77.1.2"
ENVIRON: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}


def is_ready(client: Client) -> bool:
    try:
        client.ready()
    except LognodeError:
        return False
    return True


@contextmanager
def running(machine: Machine, folder: Path, host: str, port: int) -> Iterator[View]:
    """A daemon that others reach on a machine at a port and the next, and we by a socket in its folder."""
    doors = ("--peer-listen", f"{host}:{port}", "--join-listen", f"{host}:{port + 1}", "--no-discovery")
    places = ("--data-dir", str(folder), "--listen", "127.0.0.1:0", "--unix-socket", str(folder / "s"))
    command, environ = machine.prefix(*LOGNODE, "up", *places, *doors), {**ENVIRON, "HOME": str(folder)}
    folder.mkdir()
    with (folder / "log").open("w") as log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as daemon:
        try:
            with connect(url=f"unix:{folder / 's'}", token_file=folder / "admin.token") as client:
                wait_for((folder / "api.url").exists)
                wait_for(lambda: is_ready(client))
                yield View(client)
        finally:
            daemon.terminate()
            daemon.wait(WAIT_S_MAX)
    assert daemon.returncode == 0
    assert "Traceback" not in (folder / "log").read_text()


def cut(machines: tuple[Machine, Machine], how: str) -> None:
    """Part the machines, `add`, or mend it, `del`."""
    for machine, other in zip(machines, (THERE, HERE), strict=True):
        machine.ip("route", how, "unreachable", f"{other}/32")


def test_of_two_joiners_by_one_invite_while_roots_are_parted_one_stays_and_the_other_is_told_why(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, one, second, other = [
            stack.enter_context(running(machine, tmp_path / name, host, port))
            for machine, host, names in ((machines[0], HERE, "ab"), (machines[1], THERE, "cd"))
            for name, port in zip(names, (7481, 7491), strict=True)
        ]
        second.client.join(first.client.create_invite(level="root")["invite"])
        wait_for(lambda: [peer["addresses"] for peer in first.client.peers()["peers"]] != [[]])  # invites name them
        invite = first.client.create_invite()["invite"]
        wait_equal(first, second)
        cut(machines, "add")
        for joiner, root, title in ((one, first, "of one"), (other, second, "of the other")):
            assert joiner.client.join(invite)["server"] == root.key
            joiner.append(title)
            wait_equal(root, joiner)
        assert first.members() != second.members()
        cut(machines, "del")

        wait_equal(first, second)
        stayed = {node for node, _, _ in first.members()} & {one.key, other.key}
        winner, loser = (one, other) if one.key in stayed else (other, one)
        assert stayed == {winner.key}
        wait_equal(first, second, winner)
        assert first.members() == second.members() == winner.members()
        assert first.findings() == second.findings() == winner.findings()
        assert "invite.used" in first.codes()
        wait_for(lambda: loser.codes() == {"member.refused"})
        with pytest.raises(CallerError) as refused:
            loser.client.join(invite)
        assert refused.value.code == "invite.used_up"

        loser.client.join(first.client.create_invite()["invite"])
        nodes = (first, second, winner, loser)
        wait_for(lambda: all({"of one", "of the other"} <= node.titles() for node in nodes))  # nothing is lost
        wait_equal(*nodes)
        assert first.members() == second.members() == winner.members() == loser.members()
