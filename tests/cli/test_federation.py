"""Commands about other nodes, on one node: what they print, and that no secret is where it should not be."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lognode.federation.invites.invitation import PREFIX, parse_invitation
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

NOBODY = "0" * 52


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("cli") / "node", "--join-listen", "127.0.0.1:0")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def lognode(node: Daemon) -> Lognode:
    return Lognode(node.data_dir.parent, node.data_dir)


def test_an_invite_is_alone_on_stdout_where_a_program_reads_it(lognode: Lognode) -> None:
    text = lognode.text("invite", "create", "--level", "observer", "--uses", "3", "--expires", "90m", "--approve")
    invitation = parse_invitation(text)

    assert text.startswith(PREFIX)
    assert "\n" not in text
    assert (invitation.uses, invitation.approve, invitation.level.name) == (3, True, "OBSERVER")


def test_on_a_terminal_the_last_line_is_the_invite_below_its_qr_code(lognode: Lognode) -> None:
    code, shown = lognode.on_terminal("invite", "create", "--uses", "2")
    lines = [line.strip() for line in shown.splitlines() if line.strip()]

    assert code == 0
    assert parse_invitation(lines[-1]).uses == 2
    assert any("▀" in line or "█" in line for line in lines)


def test_a_terminal_that_is_too_narrow_gets_no_qr_code(lognode: Lognode) -> None:
    code, shown = lognode.on_terminal("invite", "create", columns=40)

    assert code == 0
    assert "too narrow" in shown
    assert "█" not in shown


def test_invites_are_listed_and_revoked_without_their_secret(lognode: Lognode) -> None:
    issued = lognode.json("invite", "create")
    seed = parse_invitation(issued["invite"]).seed
    listed = {invite["id"]: invite for invite in lognode.json("invite", "list")["invites"]}

    assert listed[issued["id"]]["state"] == "open"
    assert listed[issued["id"]]["created_by"] == lognode.json("id", "show")["node"]
    assert lognode.text("invite", "revoke", issued["id"]) == "Revoked."
    assert lognode.text("invite", "revoke", issued["id"]) == "It was revoked before."
    table = lognode.text("invite", "list")
    assert "revoked" in table
    for shown in (table, json.dumps(lognode.lines("export", "--kind", "invite.create"))):
        assert issued["invite"][60:100] not in shown
        assert seed.hex() not in shown


def test_the_founder_is_listed_as_a_member(lognode: Lognode) -> None:
    (member,) = lognode.json("member", "list")["members"]

    assert (member["level"], member["self"], member["words"]) == ("root", True, None)
    assert member["node"] == lognode.json("id", "show")["node"]
    assert "this node" in lognode.text("member", "list")
    assert lognode.text("member", "pending") == "Nobody waits for approval at this node."


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("invite", "revoke", "0" * 26), "invite.unknown", 1),
        (("invite", "revoke", "nonsense"), "invite.unknown", 1),
        (("invite", "create", "--uses", "0"), "invite.terms", 2),
        (("invite", "create", "--expires", "9999d"), "invite.terms", 2),
        (("member", "remove", NOBODY), "member.unknown", 1),
        (("member", "level", NOBODY, "root"), "member.unknown", 1),
        (("member", "approve", NOBODY), "member.not_waiting", 1),
        (("member", "remove", "zz"), "member.unknown", 1),
        (("member", "level", "zz", "root"), "member.unknown", 1),
        (("member", "approve", "four words of nobody"), "member.not_waiting", 1),
        (("member", "approve", ""), "member.not_waiting", 1),
        (("invite", "revoke", ""), "invite.unknown", 1),
        (("join", "hello"), "invite.malformed", 2),
        (("join", "@missing"), "usage.invalid", 2),
    ],
)
def test_what_cannot_be_is_refused(lognode: Lognode, arguments: tuple[str, ...], code: str, exit_code: int) -> None:
    done = lognode.run(*arguments, "--json")

    assert json.loads(done.stderr)["code"] == code
    assert done.returncode == exit_code


def test_an_invite_is_read_from_stdin_and_from_a_file(lognode: Lognode, tmp_path: Path) -> None:
    text = lognode.text("invite", "create")  # of a tenant that this node is in
    (tmp_path / "invite.txt").write_text(text + "\n")

    for given in ("-", f"@{tmp_path / 'invite.txt'}", text):
        joined = lognode.json("join", given, stdin=text.encode())
        assert (joined["state"], joined["name"], joined["server"]) == ("member", "default", None)


def test_joining_where_the_node_is_a_member_says_so_and_a_terminal_does_not_show_the_invite(lognode: Lognode) -> None:
    text = lognode.text("invite", "create")
    code, shown = lognode.on_terminal("join", "-", answer=lambda asked: text if "press Enter" in asked else None)

    assert code == 0
    assert "this node is a member already" in shown
    assert text[40:80] not in shown


def test_an_invite_is_revoked_by_the_beginning_of_its_id(lognode: Lognode) -> None:
    issued = lognode.json("invite", "create")

    assert lognode.text("invite", "revoke", issued["id"][:20]) == "Revoked."


def test_a_table_that_stands_alone_begins_with_its_headings(lognode: Lognode) -> None:
    assert lognode.text("member", "list").startswith("NODE ")


def test_no_secret_is_in_the_log_the_database_or_an_error(lognode: Lognode, node: Daemon) -> None:
    text = lognode.text("invite", "create")
    altered = text[:80] + ("0" if text[80] != "0" else "1") + text[81:]
    done = lognode.run("join", "-", stdin=altered.encode())
    lognode.run("join", "-", stdin=text.encode())

    assert b"invite.altered" in done.stderr
    kept = [node.log.encode(), done.stderr, done.stdout]
    kept += [path.read_bytes() for path in node.data_dir.iterdir() if path.is_file() and path.name != "node.key"]
    for secret in (text[40:80].encode(), parse_invitation(text).seed):
        assert not any(secret in held for held in kept)
