"""Spans that leave a node and come into another, or into the same one again."""

import gzip
import json
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import cbor2
import httpx
import pytest

from lognode.cli.lines.ndjson import IMPORT_LINES_MAX
from lognode.core.draft import Draft, signed_array, signing_message
from lognode.core.ids import LogLineKind, format_logline, logline, parse_tenant_id
from lognode.identity.keys import KeyPair
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

RECORDS: Final = Path(__file__).parent.parent / "data"
PERSON: Final = KeyPair(b"p" * 32)
ACTOR: Final = logline(LogLineKind.PERSON, PERSON.public)
# What a node adds to what an author said.
PLACE: Final = {"id", "at", "node", "feed", "seq", "position", "leaf", "annotations", "tenant", "actor_signed"}


NewNode = Callable[[str], Lognode]


@pytest.fixture
def new_node(tmp_path: Path) -> Iterator[NewNode]:
    """Starts a fresh node of this name."""
    daemons: list[Daemon] = []

    def start(name: str) -> Lognode:
        daemons.append(Daemon(tmp_path / name))
        daemons[-1].start()
        return Lognode(tmp_path, daemons[-1].data_dir)

    yield start
    for daemon in daemons:
        daemon.stop()


def fill(node: Lognode) -> None:
    """Real records, and spans that have every field, of which one is signed."""
    for name in ("nginx-status.ndjson.gz", "web-requests.ndjson.gz"):
        node.text("import", str(RECORDS / name))
    first = node.text("append", "--kind", "order.placed", "--subject", "order:17", "--data", "[1, 1.0, -0.0, 1e300]")
    every = (
        "--title", "Paid: größer €", "--tag", "b", "--tag", "a", "--subject", "order:17", "--contract", "c",
        "--workflow", "w", "--flow", "f", "--metadata", '{"z": 1, "a": null}', "--visibility", "private", "--status",
        "simulated", "--actor", format_logline(ACTOR),
    )  # fmt: skip
    paid = node.text("append", "--kind", "order.paid", *every, "--caused-by", first, "--related", first)
    append_signed(node, caused_by=paid)


def append_signed(node: Lognode, *, caused_by: str) -> None:
    """A span whose actor signed it."""
    tenant = node.json("status")["node"]["tenants"][0]["id"]
    draft = Draft(kind="order.signed", data=cbor2.dumps({"n": 1}), actor=ACTOR, visibility=2)
    signature = PERSON.sign(signing_message(parse_tenant_id(tenant), draft))
    with http_client(node) as http:
        raw = cbor2.dumps([*cbor2.loads(signed_array(draft)), signature, None])
        answer = http.post("/v1/tenants/default/spans", content=raw, headers={"Content-Type": "application/cbor"})
    assert answer.status_code == 201, answer.text


def http_client(node: Lognode) -> httpx.Client:
    data_dir = Path(node.environ["LOGNODE_DATA_DIR"])
    headers = {"Authorization": f"Bearer {(data_dir / 'admin.token').read_text().strip()}"}
    return httpx.Client(base_url=(data_dir / "api.url").read_text().strip(), headers=headers, trust_env=False)


def exported(node: Lognode, *arguments: str) -> list[dict[str, Any]]:
    return node.lines("export", *arguments)


def said(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the authors of spans said, without those that only nodes write."""
    return [
        {name: value for name, value in span.items() if name not in PLACE}
        for span in spans
        if span["kind"] not in {"feed.open", "tenant.create"}
    ]


def test_export_into_import_keeps_every_field_and_the_order_with_provenance(new_node: NewNode) -> None:
    one, two, three = map(new_node, ("one", "two", "three"))
    fill(one)
    raw = one.run("export").stdout
    spans = [json.loads(line) for line in raw.splitlines()]

    assert two.text("import", "-", stdin=raw) == (
        f"{len(spans)} lines: {len(spans) - 2} added, 0 already there, 2 left out (2 control spans)"
    )
    copies = exported(two)

    assert len(spans) == 500 + 9999 + 3 + 2
    assert spans == [{**span, "tenant": spans[0]["tenant"]} for span in one.lines("log", "--order", "arrival")]
    assert said(copies) == said(spans)
    assert len({json.dumps(span["data"]) for span in spans}) > 10_000
    for span, copy in zip(spans[2:], copies[2:], strict=True):
        named = ("id", "at", "tenant", "node", "feed", "seq", "actor_signed")
        assert copy["annotations"] == {"origin": {name: span[name] for name in named} | {"as": "import"}}
        assert copy["actor_signed"] is False
    assert [span["actor_signed"] for span in spans[-3:]] == [False, False, True]
    assert two.run("verify").returncode == 0

    # A second run adds nothing, and a copy of a copy says the same and names the first.
    again = two.json("import", "-", stdin=raw)
    assert again == {
        "lines": len(spans), "added": 0, "already_there": len(spans) - 2, "left_out": {"control": 2}
    }  # fmt: skip
    three.text("import", "-", stdin=two.run("export").stdout)
    assert said(exported(three)) == said(spans)
    for span, between, copy in zip(spans[2:], copies[2:], exported(three)[2:], strict=True):
        assert copy["annotations"]["origin"] == between["annotations"]["origin"] | {"via": [between["id"]]}
        assert copy["annotations"]["origin"]["id"] == span["id"]

    # Old ids lead to the copies, also in causes that were recorded between.
    (placed,) = one.lines("log", "--kind", "order.placed")
    (paid,) = two.lines("log", "--kind", "order.paid")
    assert paid["caused_by"] == placed["id"]
    why = three.json("why", paid["id"])
    assert [cause["kind"] for cause in why["causes"]["spans"]] == ["order.placed"]
    assert [span["kind"] for span in three.lines("log", "--origin", placed["id"])] == ["order.placed"]


def test_importing_into_the_tenant_that_recorded_it_doubles_nothing(new_node: NewNode) -> None:
    one, two = map(new_node, ("one", "two"))
    for number in range(5):
        one.text("append", "--kind", "note.made", "--title", str(number))
    raw = one.run("export", "--kind", "note.*").stdout
    two.text("import", "-", stdin=raw)

    assert one.text("import", "-", stdin=raw) == "5 lines: 0 added, 5 already there"
    assert one.text("import", "-", stdin=two.run("export", "--kind", "note.*").stdout) == (
        "5 lines: 0 added, 5 already there"
    )
    assert len(exported(one, "--kind", "note.*")) == 5


def test_why_shows_an_imported_history_as_it_was(new_node: NewNode) -> None:
    one, two, three = map(new_node, ("one", "two", "three"))
    ids = [one.text("append", "--kind", "chain.link", "--title", "First")]
    for title in ("Second", "Third"):
        ids.append(one.text("append", "--kind", "chain.link", "--title", title, "--caused-by", ids[-1]))
    two.text("import", "-", stdin=one.run("export").stdout)
    copy = two.lines("log", "--origin", ids[2])[0]["id"]
    two.text("append", "--kind", "chain.link", "--title", "Fourth", "--caused-by", copy)
    three.text("import", "-", stdin=two.run("export").stdout)

    for node in (two, three):
        # With lines for branches and dots for ids.
        shown = re.sub("[0-9a-z]{39}", ".", node.text("why", ids[1]))
        assert shown.splitlines() == [
            ". chain.link Second",
            "├── because of",
            "│   └── . chain.link First",
            "└── led to",
            "    └── . chain.link Third",
            "        └── . chain.link Fourth",
        ]
        assert [line.split()[-1] for line in node.text("why", ids[2]).splitlines()] == [
            "Third", "of", "Second", "First", "to", "Fourth"
        ]  # fmt: skip


def test_two_nodes_that_take_each_others_copies_of_a_third_one_come_to_an_end(new_node: NewNode) -> None:
    one, two, three = map(new_node, ("one", "two", "three"))
    one.text("append", "--kind", "note.made", "--title", "1")
    one.text("replay", "--kind", "note.*", "--run", "r")
    for node in (two, three):
        node.text("import", "-", stdin=one.run("export", "--kind", "note.*").stdout)
    for _ in range(2):
        for taker, giver in ((two, three), (three, two)):
            assert taker.text("import", "-", stdin=giver.run("export", "--kind", "note.*").stdout) == (
                "2 lines: 0 added, 2 already there"
            )

    (line, _) = one.run("export", "--kind", "note.*").stdout.splitlines()
    changed = two.run("import", "-", stdin=line.replace(b'"title":"1"', b'"title":"2"'))
    assert changed.returncode == 5
    assert f"a copy of {json.loads(line)['id']} is there, and its content is not".encode() in changed.stderr


def test_drafts_and_spans_may_stand_in_one_file_and_a_line_that_is_neither_stops_it(new_node: NewNode) -> None:
    one, two = map(new_node, ("one", "two"))
    one.text("append", "--kind", "note.made", "--title", "1")
    (span,) = one.run("export", "--kind", "note.*").stdout.splitlines()
    neither = json.dumps({**json.loads(span), "idempotency_key": "k"}).encode()
    file = b"\n".join([b'{"kind":"note.made","title":"0"}', span, b"", neither, b'{"kind":"note.made"}'])

    done = two.run("import", "-", stdin=file)
    told = two.run("import", "-", "--json", stdin=file)

    assert done.returncode == 1
    assert b"Before the error: 2 lines: 2 added, 0 already there. " in done.stderr
    assert b"line 4: " in done.stderr
    problem = json.loads(told.stderr)
    assert (problem["code"], problem["line"], problem["duplicates"]) == ("draft.invalid", 4, 2)
    assert [span["title"] for span in exported(two, "--kind", "note.*")] == ["0", "1"]


def test_a_dry_import_says_what_would_come_of_it_and_writes_nothing(new_node: NewNode) -> None:
    one = new_node("one")
    lines = b'{"kind":"note.made","idempotency_key":"a"}\n' * 2 + b'{"kind":"note.made"}\n'
    before = one.json("status")["tenant"]

    assert one.text("import", "-", "--dry-run", stdin=lines) == "3 lines: 2 would be added, 1 already there"
    assert one.run("import", "-", "--dry-run", stdin=lines + b"{}").returncode == 1
    assert one.json("status")["tenant"] == before
    assert one.text("import", "-", stdin=lines) == "3 lines: 2 added, 1 already there"


def test_a_dry_import_of_many_requests_foretells_the_import(new_node: NewNode) -> None:
    one = new_node("one")
    first, other = b'{"kind":"note.made","idempotency_key":"a"}\n', b'{"kind":"note.filed","idempotency_key":"a"}\n'
    many = b"".join(b'{"kind":"note.made","title":"%d"}\n' % number for number in range(2 * IMPORT_LINES_MAX))
    same, clash = first + many + first, first + many + other

    dry = [one.run("import", "-", "--dry-run", "--json", stdin=lines) for lines in (same, clash)]
    real = [one.run("import", "-", "--json", stdin=same)]
    assert json.loads(dry[0].stdout).items() >= json.loads(real[0].stdout).items()
    assert json.loads(real[0].stdout)["already_there"] == 1
    real.append(one.run("import", "-", "--json", stdin=clash))
    for name in ("code", "line", "place", "detail"):
        assert json.loads(dry[1].stderr)[name] == json.loads(real[1].stderr)[name]


def test_an_export_takes_filters_and_has_what_was_there(new_node: NewNode, tmp_path: Path) -> None:
    one = new_node("one")
    one.text("import", str(RECORDS / "web-requests.ndjson.gz"))
    wanted = gzip.decompress((RECORDS / "web-requests.ndjson.gz").read_bytes()).count(b'"status:4xx"')
    file = tmp_path / "out.ndjson"
    file.write_text("old")
    file.chmod(0o644)

    assert one.text("export", "--tag", "status:4xx", "-o", str(file)) == f"{wanted} spans written to {file}"

    spans = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert spans == exported(one, "--tag", "status:4xx")
    assert {span["kind"] for span in spans} == {"http.request"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert one.json("export", "--kind", "none", "-o", str(file)) == {"file": str(file), "spans": 0}
    assert file.read_bytes() == b""
    assert list(tmp_path.glob(".out*")) == []


def test_an_export_that_fails_leaves_the_old_file(new_node: NewNode, tmp_path: Path) -> None:
    one = new_node("one")
    file = tmp_path / "out.ndjson"
    file.write_text("old")

    assert one.run("export", "--actor", "nobody", "-o", str(file)).returncode != 0
    assert file.read_text() == "old"
    assert list(tmp_path.glob(".out*")) == []
    missing = one.run("export", "-o", str(tmp_path / "none" / "out.ndjson"))
    assert b"[system.failed]" in missing.stderr
    assert str(tmp_path / "none").encode() in missing.stderr
    assert one.run("export", "-o", str(tmp_path)).returncode == 2


def test_a_packed_export_is_imported(new_node: NewNode, tmp_path: Path) -> None:
    one, two = map(new_node, ("one", "two"))
    one.text("append", "--kind", "note.made")
    (tmp_path / "out.gz").write_bytes(gzip.compress(one.run("export").stdout))

    assert two.text("import", str(tmp_path / "out.gz")).startswith("3 lines: 1 added")


def state_of(node: Lognode) -> object:
    """What the tenant amounts to, and every byte of the database."""
    data_dir = Path(node.environ["LOGNODE_DATA_DIR"])
    with http_client(node) as http:
        stats = http.get("/v1/tenants/default/stats").json()
    return stats, [(data_dir / f"lognode.db{end}").read_bytes() for end in ("", "-wal")]


def test_a_replay_records_spans_again_once_a_run(new_node: NewNode) -> None:
    one = new_node("one")
    cause = one.text("append", "--kind", "order.placed", "--data", "[1, 1.0]", "--visibility", "private")
    one.text("append", "--kind", "order.paid", "--caused-by", cause, "--tag", "a")
    one.text("append", "--kind", "note.made")
    originals = exported(one, "--kind", "order.*")

    assert one.text("replay", "--kind", "order.*", "--run", "first") == "2 spans: 2 added, 0 already there"
    assert one.text("replay", "--kind", "order.*", "--run", "first") == (
        "4 spans: 0 added, 2 already there, 2 left out (2 replays)"
    )
    replays = exported(one, "--kind", "order.*")[2:]

    assert said(replays) == said(originals)
    for span, again in zip(originals, replays, strict=True):
        origin = again["annotations"]["origin"]
        assert (origin["id"], origin["tenant"], origin["as"]) == (span["id"], span["tenant"], "replay")
    assert one.json("show", originals[0]["id"])["position"] == originals[0]["position"]

    # Another run is another act; a replay of a replay keeps the first origin.
    named = one.run("replay", "--kind", "order.placed", "--replays", "--json")
    answer = json.loads(named.stdout)
    assert f"--run {answer['run']}" in named.stderr.decode()
    assert (answer["spans"], answer["added"], answer["left_out"]) == (2, 2, {})
    newest = exported(one, "--kind", "order.placed")[-1]
    assert newest["annotations"]["origin"]["id"] == cause
    assert newest["annotations"]["origin"]["via"] == [replays[0]["id"]]
    assert one.run("verify").returncode == 0


def test_a_run_of_replays_too_never_replays_what_it_made(new_node: NewNode) -> None:
    one = new_node("one")
    one.text("append", "--kind", "note.made")
    one.text("replay", "--kind", "note.*", "--run", "other")

    assert one.text("replay", "--kind", "note.*", "--run", "r", "--replays") == "2 spans: 2 added, 0 already there"
    for _ in range(2):
        assert one.text("replay", "--kind", "note.*", "--run", "r", "--replays") == (
            "4 spans: 0 added, 2 already there, 2 left out (2 replays of this run)"
        )
    assert [span["annotations"]["origin"]["run"] for span in exported(one, "--kind", "note.*")[1:]] == [
        "other", "r", "r"
    ]  # fmt: skip

    nameless = one.run("replay", "--run", "", "--json")
    assert (nameless.returncode, json.loads(nameless.stderr)["code"]) == (2, "usage.invalid")
    assert len(exported(one, "--kind", "note.*")) == 4


def test_a_replay_that_was_stopped_or_killed_goes_on_under_its_name_and_doubles_nothing(new_node: NewNode) -> None:
    one = new_node("one")
    one.text("import", str(RECORDS / "web-requests.ndjson.gz"))
    held = exported(one)
    for number, code in ((signal.SIGINT, -2), (signal.SIGKILL, -9)):
        before = len(exported(one))
        replay = one.start("replay", "--run", "r", "--kind", "http.request")
        with http_client(one) as http:
            while http.get("/v1/tenants/default/stats").json()["spans"] == before:
                assert replay.poll() is None, "it ended before anything of it was seen"
        replay.send_signal(number)
        _, messages = replay.communicate()
        assert replay.returncode == code
        assert (b"Stopped. For certain in: " in messages) == (b"--run r" in messages) == (code == -2)

    done = one.json("replay", "--run", "r", "--kind", "http.request")

    originals, replays = held[2:], exported(one)[len(held) :]
    assert (done["added"] + done["already_there"], done["left_out"].keys()) == (len(originals), {"replay"})
    assert min(done["already_there"], done["left_out"]["replay"]) > 0
    assert [span["annotations"]["origin"]["id"] for span in replays] == [span["id"] for span in originals]
    assert said(replays) == said(originals)


def test_a_simulated_replay_goes_through_everything_and_writes_nothing(new_node: NewNode) -> None:
    one = new_node("one")
    for number in range(3):
        one.text("append", "--kind", "note.made", "--title", str(number))
    one.text("replay", "--run", "r", "--until", exported(one)[-1]["at"])
    before = state_of(one)

    told = one.json("replay", "--run", "r", "--simulate")
    words = one.text("replay", "--simulate")

    assert state_of(one) == before
    assert told["dry_run"] is True
    came = one.json("replay", "--run", "r")
    assert {name: told[name] for name in came} == came
    assert state_of(one) != before
    assert " would be added, 0 already there, " in words
