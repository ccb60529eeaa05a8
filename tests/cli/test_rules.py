"""What the commands about rule sets do with a running node, and without one."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon


@pytest.fixture(scope="module")
def lognode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lognode]:
    daemon = Daemon(tmp_path_factory.mktemp("cli") / "node")
    daemon.start()
    yield Lognode(daemon.data_dir.parent, daemon.data_dir)
    daemon.stop()


def text_of(name: str, note: str, *ids: str) -> str:
    rules = [
        f'  - id: {id_}\n    on: draft\n    kinds: [login.failed]\n    then: [{{note: "{note}"}}]\n' for id_ in ids
    ]
    return f"rules: {name}\ndescription: Watch {name}\ndo:\n{''.join(rules)}"


def write(lognode: Lognode, file: str, text: str) -> str:
    (lognode.home / file).write_text(text)
    return sha256(text.encode()).hexdigest()


def test_a_rule_set_goes_through_its_life(lognode: Lognode) -> None:
    one = write(lognode, "logins.yaml", text_of("logins", "odd", "first", "second"))
    assert lognode.text("rule", "check", "logins.yaml") == "logins is right: 2 rules."
    trial = lognode.run("rule", "publish", "logins.yaml", "--dry-run")
    assert (trial.returncode, b"this was a trial" in trial.stderr) == (0, True)
    assert "There are no rule sets" in lognode.text("rule", "list")
    said = lognode.text("rule", "publish", "logins.yaml")
    assert all(part in said for part in ("logins", one[:12], "+ first", "+ second"))
    again = lognode.run("rule", "publish", "logins.yaml")
    assert (again.returncode, b"nothing was published" in again.stderr) == (0, True)

    two = write(lognode, "logins.yaml", text_of("logins", "very odd", "first", "third"))
    published = lognode.json("rule", "publish", "logins.yaml", "--if-version", one[:6])
    assert (published["before"], published["version"]) == (one, two)
    changes = [(each["rule"], each["change"]) for each in published["changes"]["rules"]]
    assert changes == [("first", "changed"), ("third", "added"), ("second", "removed")]
    diff = lognode.text("rule", "diff", "logins", one[:8])
    assert "~ first: then" in diff
    assert f"--- logins {one[:12]}" in diff
    assert '+    then: [{note: "very odd"}]' in diff
    assert "They say the same." in lognode.text("rule", "diff", "logins", two[:8], two[:8])

    listed = lognode.text("rule", "list")
    assert "in force" in listed
    assert two[:12] in listed
    shown = lognode.text("rule", "show", "logins")
    assert two in shown
    assert "very odd" in shown
    text = lognode.text("rule", "show", "logins", "--version", one[:8], "--text")
    assert text + "\n" == text_of("logins", "odd", "first", "second")

    assert lognode.json("rule", "rollback", "logins", one[:8], "--if-version", two)["version"] == one
    assert "nothing" in lognode.text("rule", "disable", "logins")
    assert "disabled" in lognode.text("rule", "list")
    versions = lognode.json("rule", "show", "logins", "--versions")["versions"]
    assert [each["version"] for each in versions] == [None, one, two, one]
    assert "disabled" in lognode.text("rule", "show", "logins", "--versions")
    assert "published rule set logins" in lognode.text("log", "--kind", "rule.publish", "--format", "text")


@pytest.mark.parametrize("command", ["check", "publish"])
def test_each_mistake_is_a_line_with_its_place_and_a_suggestion(lognode: Lognode, command: str) -> None:
    text = text_of("wrong", "odd", "first").replace("kinds:", "kind:").replace("login.failed", "Login")
    write(lognode, "wrong.yaml", text)
    done = lognode.run("rule", command, "wrong.yaml")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert lines[0].startswith("wrong.yaml:6:5: ")
    assert "did you mean 'kinds'?" in lines[0]
    assert lines[0].endswith("[rule.unknown_key]")
    assert lines[-1] == f"{len(lines) - 1} mistake{'s' if len(lines) > 2 else ''}; nothing was published."
    done = lognode.run("rule", command, "wrong.yaml", "--json")
    problem = json.loads(done.stderr)
    assert (done.returncode, problem["code"], problem["file"]) == (1, "rule.unknown_key", "wrong.yaml")
    assert problem["faults"][0]["line"] == 6
    done = lognode.run("rule", command, "-", stdin=text.encode())
    assert done.stderr.decode().startswith("stdin:6:5: ")


def test_checking_needs_no_node(tmp_path: Path) -> None:
    lognode = Lognode(tmp_path, tmp_path / "nothing")
    (tmp_path / "a.json").write_text('{"rules": "a", "do": [{"id": "x", "on": "draft", "then": [{"note": "n"}]}]}')
    found = lognode.json("rule", "check", "a.json")
    assert (found["name"], found["rules"]) == ("a", ["x"])
    assert lognode.run("rule", "check", "a.json", "--media", "yaml").returncode == 0
    assert lognode.run("rule", "check", "missing.yaml").returncode == 1
    assert lognode.run("rule", "list").returncode == 3
    assert not (tmp_path / "nothing").exists()


def test_exit_codes_say_what_went_wrong(lognode: Lognode) -> None:
    version = write(lognode, "codes.yaml", text_of("codes", "odd", "first"))
    lognode.text("rule", "publish", "codes.yaml", "--new")
    write(lognode, "codes.yaml", text_of("codes", "odd", "second"))
    for arguments, code, name in (
        (("publish", "codes.yaml", "--new"), 5, "rule.changed"),
        (("publish", "codes.yaml", "--if-version", "0000"), 1, "rule.unknown_version"),
        (("disable", "nobodys"), 1, "rule.unknown"),
        (("rollback", "codes", "0000"), 1, "rule.unknown_version"),
        (("rollback", "codes", "xyz"), 2, "version.malformed"),
        (("publish",), 2, "usage.invalid"),
    ):
        done = lognode.run("rule", *arguments)
        assert (done.returncode, name in done.stderr.decode()) == (code, True), done.stderr
    assert lognode.json("rule", "show", "codes")["version"] == version
