"""What the commands do with a running node, as a person or a script would call them."""

import gzip
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from tests.cli.lognode_command import COMMAND, Lognode
from tests.daemon import Daemon

WEB_REQUESTS = Path(__file__).parent.parent / "data" / "web-requests.ndjson.gz"
HELLO = ("append", "--kind", "note.made", "--title", "Hello")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests here that may share it; each counts only spans of its own kind or subject."""
    daemon = Daemon(tmp_path_factory.mktemp("cli") / "node")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def lognode(node: Daemon) -> Lognode:
    return Lognode(node.data_dir.parent, node.data_dir)


def test_append_prints_the_id_and_nothing_else(lognode: Lognode) -> None:
    done = lognode.run(*HELLO, "--data", '{"n": 1}', "--tag", "b", "--tag", "a", "--subject", "order 17")

    assert (done.returncode, done.stderr) == (0, b"")
    span = lognode.json("show", done.stdout.decode().strip())
    assert (span["title"], span["data"], span["tags"], span["subject"]) == ("Hello", {"n": 1}, ["a", "b"], "order 17")


@pytest.mark.parametrize("place", ["argument", "file", "stdin"])
def test_append_takes_data_from_the_command_line_a_file_or_stdin(lognode: Lognode, tmp_path: Path, place: str) -> None:
    raw = '[1, 2.5, "é", null]'
    (tmp_path / "data.json").write_text(raw)
    given = {"argument": raw, "file": f"@{tmp_path / 'data.json'}", "stdin": "-"}[place]

    receipt = lognode.json("append", "--kind", "note.made", "--data", given, stdin=raw.encode())

    assert lognode.json("show", receipt["id"])["data"] == [1, 2.5, "é", None]


def test_every_web_request_is_imported_once_however_often_the_file_is(lognode: Lognode) -> None:
    raw = gzip.decompress(WEB_REQUESTS.read_bytes())
    requests = [json.loads(line) for line in raw.splitlines()]

    assert lognode.text("import", "-", stdin=raw) == "9999 lines: 9999 added, 0 already there"
    assert lognode.json("import", str(WEB_REQUESTS)) == {
        "lines": 9999,
        "added": 0,
        "already_there": 9999,
        "left_out": {},
    }

    found = lognode.lines("log", "--kind", "http.request", "--json")
    assert [(span["title"], span["data"]) for span in found] == [(line["title"], line["data"]) for line in requests]
    refused = lognode.lines("log", "--kind", "http.request", "--tag", "status:4xx", "--json")
    assert Counter(span["title"] for span in refused) == Counter(
        line["title"] for line in requests if "status:4xx" in line["tags"]
    )


def test_import_stops_at_a_bad_line_and_says_what_is_in(lognode: Lognode, tmp_path: Path) -> None:
    lines = [b'{"kind":"stop.tried","title":"%d"}' % number for number in range(1, 11)]
    file = tmp_path / "lines.ndjson"
    file.write_bytes(b"\n".join([*lines[:6], b"", b'{"kind":', *lines[6:]]))

    done = lognode.run("import", str(file))
    told = lognode.run("import", str(file), "--json")

    assert done.returncode == 1
    assert done.stdout == b""
    assert b"Before the error: 6 lines: 6 added, 0 already there. " in done.stderr
    assert b"error: Malformed JSON: line 8: " in done.stderr
    problem = json.loads(told.stderr)
    assert (problem["code"], problem["line"], problem["appended"], problem["duplicates"]) == ("json.malformed", 8, 0, 6)

    file.write_bytes(b"\n".join(lines))
    assert lognode.text("import", str(file)) == "10 lines: 4 added, 6 already there"
    assert [span["title"] for span in lognode.lines("log", "--kind", "stop.tried")] == [
        str(number) for number in range(1, 11)
    ]


def test_json_over_several_lines_is_told_to_stand_on_one_and_a_byte_order_mark_is_none_of_it(lognode: Lognode) -> None:
    for raw in (b'{\n  "kind": "a.b"\n}\n', b'[\n{"kind":"a.b"}\n]\n'):
        assert b"line 1: " in (told := lognode.run("import", "-", stdin=raw).stderr)
        assert b"write one object a line" in told

    raw = b'{"kind":"mark.led"}\n'
    assert lognode.text("import", "-", stdin=b"\xef\xbb\xbf" + raw) == "1 line: 1 added, 0 already there"
    assert lognode.text("import", "-", stdin=raw) == "1 line: 0 added, 1 already there"


def test_equal_lines_of_one_file_are_all_recorded(lognode: Lognode) -> None:
    raw = b'{"kind":"twice.said"}\n' * 3

    assert lognode.text("import", "-", stdin=raw) == "3 lines: 3 added, 0 already there"
    assert lognode.text("import", "-", stdin=raw + raw) == "6 lines: 3 added, 3 already there"


def test_lines_of_a_slow_producer_are_in_before_it_ends(lognode: Lognode) -> None:
    process = lognode.start("import", "-")
    assert process.stdin is not None
    process.stdin.write(b'{"kind":"slow.came"}\n')
    process.stdin.flush()
    follower = lognode.start("tail", "-f", "-n", "1", "--kind", "slow.came", "--json")
    assert follower.stdout is not None

    assert json.loads(follower.stdout.readline())["kind"] == "slow.came"

    follower.send_signal(signal.SIGINT)
    follower.communicate()
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert messages.startswith(b"Stopped. For certain in: ")
    assert b"Traceback" not in messages


def test_log_into_a_pipe_gives_all_spans_the_oldest_first(lognode: Lognode) -> None:
    raw = b"".join(b'{"kind":"page.turned","title":"%d"}\n' % number for number in range(1234))
    lognode.text("import", "-", stdin=raw)

    titles = [span["title"] for span in lognode.lines("log", "--kind", "page.turned")]
    newest = [span["title"] for span in lognode.lines("log", "--kind", "page.turned", "--limit", "3")]

    assert titles == [str(number) for number in range(1234)]
    assert newest == titles[-3:]
    assert len(lognode.lines("log", "--kind", "page.*", "--since", "1h", "--order", "arrival")) == 1234
    assert lognode.lines("log", "--kind", "page.turned", "--until", "2020-01-01") == []


def test_show_entry_prints_the_bytes_that_the_proof_is_about(lognode: Lognode, tmp_path: Path) -> None:
    span_id = lognode.text(*HELLO)
    file = tmp_path / "span.tlog-proof"

    assert lognode.text("prove", span_id, "-o", str(file)) == ""

    checked = lognode.json("check-proof", str(file), "--vkey", lognode.text("id", "show", "--vkey"))
    assert checked["span"] == span_id
    assert checked["entry"] == lognode.text("show", span_id, "--entry")
    assert file.read_bytes() == lognode.run("prove", span_id).stdout


def test_a_proof_is_checked_without_a_node_and_refused_when_a_byte_differs(lognode: Lognode, tmp_path: Path) -> None:
    proof = lognode.run("prove", lognode.text(*HELLO)).stdout
    vkey_file = tmp_path / "vkey"
    vkey_file.write_text(lognode.text("id", "show", "--vkey") + "\n")
    elsewhere = Lognode(tmp_path)
    arguments = ("check-proof", "-", "--vkey", f"@{vkey_file}")

    assert elsewhere.text(*arguments, stdin=proof).startswith("The proof holds.\n")
    refused = elsewhere.run(*arguments, stdin=proof[:-10] + bytes([proof[-10] ^ 1]) + proof[-9:])
    assert refused.returncode == 1
    assert b"[proof.invalid]" in refused.stderr


def test_a_written_proof_names_the_command_that_prints_its_key(lognode: Lognode, tmp_path: Path) -> None:
    told = lognode.run("prove", lognode.text(*HELLO), "-o", str(tmp_path / "proof")).stderr.decode()
    command = told.split("'")[1].split()
    assert command[:4] == ["lognode", "id", "show", "--vkey"]
    key = lognode.text(*command[1:])
    assert Lognode(tmp_path).text("check-proof", "proof", "--vkey", key).startswith("The proof holds.\n")


def test_what_a_node_knew_takes_the_beginning_of_its_key_and_both_options(lognode: Lognode) -> None:
    first, second = (lognode.text(*HELLO, "--subject", "known") for _ in range(2))
    key = lognode.text("id", "show").removeprefix("logline-id://node/")
    known = lognode.lines("log", "--subject", "known", "--known-by", key[:12], "--at", first, "--json")
    assert [span["id"] for span in known] == [first]
    stranger = lognode.run("log", "--known-by", "0" * 52, "--at", second)
    assert (stranger.returncode, b"[member.unknown]" in stranger.stderr) == (1, True)
    for half in (("--known-by", key), ("--at", first)):
        refused = lognode.run("log", *half)
        assert (refused.returncode, b"give both" in refused.stderr) == (2, True)
    assert lognode.run("tail", "-f", "--known-by", key, "--at", first).returncode == 2


def test_a_subject_is_shown_in_one_table_and_nothing_waits_where_none_contradicts(lognode: Lognode) -> None:
    lognode.text(*HELLO, "--subject", "tap 9")
    rows = lognode.text("subject", "tap 9").splitlines()
    assert len({row.index(row.split(maxsplit=1)[1]) for row in rows}) == 1
    assert lognode.text("conflict", "list") == "Nothing is in conflict."
    assert lognode.text("conflict", "list", "--open") == "No conflict waits for a decision."


def test_why_shows_causes_and_effects_as_a_tree(lognode: Lognode) -> None:
    first = lognode.text(*HELLO)
    second = lognode.text(*HELLO, "--caused-by", first)
    third, fourth = (lognode.text(*HELLO, "--caused-by", second) for _ in range(2))

    lines = lognode.text("why", second).splitlines()
    answer = lognode.json("why", second)

    assert [line.split("note.made")[0].strip("│├└─ ") for line in lines] == [
        second,
        "because of",
        first,
        "led to",
        third,
        fourth,
    ]
    assert [span["id"] for span in answer["causes"]["spans"]] == [first]
    assert [span["id"] for span in answer["effects"]["spans"]] == [third, fourth]


def test_tail_follows_through_a_restart_of_the_node_and_misses_nothing(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node")
    daemon.start()
    lognode = Lognode(tmp_path, daemon.data_dir)
    for number in range(3):
        lognode.text("append", "--kind", "seen.live", "--title", str(number))
    follower = lognode.start("tail", "-f", "-n", "2", "--kind", "seen.live", "--json")
    assert follower.stdout is not None
    lines = iter(follower.stdout.readline, b"")
    assert [json.loads(next(lines))["title"] for _ in range(2)] == ["1", "2"]

    lognode.text("append", "--kind", "other.live")
    lognode.text("append", "--kind", "seen.live", "--title", "3")
    assert json.loads(next(lines))["title"] == "3"
    daemon.restart()
    lognode.text("append", "--kind", "seen.live", "--title", "4")
    assert json.loads(next(lines))["title"] == "4"

    follower.send_signal(signal.SIGINT)
    rest, messages = follower.communicate()
    assert (follower.returncode, rest) == (-signal.SIGINT, b"")
    lost, back = messages.splitlines()
    assert lost.endswith(b"waiting for the node.")
    assert back == b"Connected again."
    daemon.stop()


def test_a_reader_that_has_enough_ends_the_command_quietly(lognode: Lognode) -> None:
    lognode.text("import", "-", stdin=b'{"kind":"much.said","title":"%s"}\n' % (b"x" * 4000) * 300)
    process = lognode.start("log", "--kind", "much.said", stdin=DEVNULL)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize("command", ["show", "why", "prove"])
def test_a_command_behind_which_nobody_reads_exits_with_141(lognode: Lognode, command: str) -> None:
    span_id = lognode.text(*HELLO)
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        process = Popen((*COMMAND, command, span_id), stdout=theirs, stderr=PIPE, env=lognode.environ)
    finally:
        os.close(theirs)

    _, messages = process.communicate()
    assert (process.returncode, messages) == (141, b"")


def test_status_tells_of_the_node_and_the_tenant(lognode: Lognode, node: Daemon) -> None:
    lognode.text(*HELLO)
    status = lognode.json("status")

    assert status["ready"]
    assert status["node"]["node"] == lognode.text("id", "show")
    assert status["tenant"]["kinds"]["note.made"] >= 1
    assert node.url in lognode.text()
    shown = lognode.text("status").splitlines()
    assert any(line.split()[:2] == ["note.made", f"{status['tenant']['kinds']['note.made']:,}"] for line in shown)
    assert [line.split()[0] for line in shown if line.isupper()] == ["SUBSYSTEM", "FEED", "KIND"]


def test_verify_finds_nothing_wrong_while_the_node_runs(lognode: Lognode) -> None:
    assert lognode.run("verify").returncode == 0
    answer = json.loads(lognode.run("verify", "--json").stdout)
    assert answer["ok"]
    assert answer["spans"] >= 2
