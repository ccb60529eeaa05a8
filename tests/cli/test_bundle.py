"""Bundles as people make and check them: by a real daemon, and then on a machine where there is none."""

import gzip
import json
import os
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from lognode.cli.main import run
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, logline
from lognode.core.span import PRIVATE, Body, encode_body
from lognode.timeline.proof.bundle import reader
from lognode.timeline.proof.bundle.frames import read_frames
from lognode.timeline.proof.bundle.items import Head, SpanItem, StubItem
from lognode.timeline.proof.bundle.reader import verify_bundle
from lognode.timeline.proof.bundle.verdict import Verdict
from tests.cli.lognode_command import Lognode
from tests.client.node_stub import Answer, stub_node
from tests.daemon import Daemon
from tests.timeline.bundles import KEYS, Place, bundle_of, items_of, joined
from tests.timeline.histories import ALICE, append_signed, write_history

WEB_REQUESTS = Path(__file__).parent.parent / "data" / "web-requests.ndjson.gz"
SPANS = 1000
FLIPS = 1000
PROCESSES = 8  # of the flips, which the command gets to see


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("bundle") / "node")
    daemon.start()
    lognode = Lognode(daemon.data_dir.parent, daemon.data_dir)
    lines = gzip.decompress(WEB_REQUESTS.read_bytes()).splitlines(keepends=True)[:SPANS]
    lognode.text("import", "-", stdin=b"".join(lines))
    lognode.text("append", "--kind", "secret.kept", "--title", "a secret", "--visibility", "private")
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def lognode(node: Daemon) -> Lognode:
    return Lognode(node.data_dir.parent, node.data_dir)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Lognode:
    """The command on a machine without a node: a home that is empty and stays so."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    return Lognode(home)


def test_a_bundle_of_a_thousand_spans_verifies_with_no_node_at_hand_and_fails_for_every_flip(
    node: Daemon, lognode: Lognode, elsewhere: Lognode, tmp_path: Path
) -> None:
    path = tmp_path / "requests.bundle"
    made = lognode.run("bundle", "create", "--kind", "http.request", "-o", str(path))
    assert (made.returncode, made.stdout[:19]) == (0, f"Wrote {path}"[:19].encode())
    assert f"{SPANS:,} spans" in made.stdout.decode()
    assert b"private" in made.stderr
    who = lognode.text("id", "show")
    node.stop()
    try:
        facts = elsewhere.json("bundle", "verify", str(path), "--node", who)
        assert (facts["ok"], facts["spans"], facts["sealed_by"], facts["query"]) == (
            True, SPANS, who, "kind=http.request",
        )  # fmt: skip
        assert [feed["complete"] for feed in facts["feeds"]] == [True]
        assert list(elsewhere.home.iterdir()) == []

        raw = path.read_bytes()
        rng = random.Random(7)
        for number, flipped in enumerate(flips(raw, rng)):
            with pytest.raises(CallerError):
                verify_bundle([flipped])
            if number % (FLIPS // PROCESSES) == 0:
                refused = elsewhere.run("bundle", "verify", "-", "--node", who, "--json", stdin=flipped)
                assert (refused.returncode, refused.stdout) == (1, b"")
                assert json.loads(refused.stderr)["code"] == "bundle.invalid"
    finally:
        node.start()


def flips(raw: bytes, rng: random.Random) -> Iterator[bytes]:
    """The bundle with one other byte, many times, in every kind of item: half of them in spans."""
    frames = list(read_frames([raw]))
    rare = [*frames[:3], frames[-1]]
    for number in range(FLIPS):
        frame = rng.choice(rare if number % 2 else frames)
        flipped = bytearray(raw)
        flipped[frame.offset + rng.randrange(len(frame.head) + len(frame.payload))] ^= rng.randrange(1, 256)
        yield bytes(flipped)


def test_whoever_verifies_has_to_say_whose_signature_counts(
    lognode: Lognode, elsewhere: Lognode, tmp_path: Path
) -> None:
    path = tmp_path / "all.bundle"
    lognode.text("bundle", "create", "-o", str(path))
    stranger = "logline-id://node/" + "0" * 52
    who, vkey = lognode.text("id", "show"), tmp_path / "feed.vkey"
    vkey.write_text(lognode.text("id", "show", "--vkey") + "\n")

    for trusted in (["--node", stranger, "--node", who], ["--vkey", f"@{vkey}"], ["--vkey", str(vkey)], ["--any-node"]):
        shown = elsewhere.text("bundle", "verify", str(path), *trusted)
        assert f"Sealed by  {who}" in shown
        assert f"all entries 0 to {SPANS + 2:,} of {SPANS + 3:,}" in shown
        assert "1 besides, of which only time and hash are shown" in shown
    for known in ([], ["--node", stranger]):
        refused = elsewhere.run("bundle", "verify", str(path), *known)
        assert (refused.returncode, who.encode() in refused.stderr) == (1, True)
        assert b"[bundle.untrusted]" in refused.stderr
        assert json.loads(elsewhere.run("bundle", "verify", str(path), *known, "--json").stderr)["sealed_by"] == who
    for wrong in (["--node", "alice"], ["--node", who.replace("node/", "person/")]):
        assert elsewhere.run("bundle", "verify", str(path), *wrong).returncode == 2
    vkey.with_name("bad").write_text("x")
    for given, code, said in (
        ("x", 2, "--vkey: it has not the form"),
        (f"@{vkey.with_name('bad')}", 2, "bad: it has not the form"),
    ):
        for command in (("bundle", "verify"), ("check-proof",)):
            malformed = elsewhere.run(*command, str(path), "--vkey", given)
            assert (malformed.returncode, b"[vkey.malformed]" in malformed.stderr) == (code, True)
            assert said.encode() in malformed.stderr
    assert b"file.unreadable" in elsewhere.run("bundle", "verify", "nowhere").stderr


def test_a_file_of_another_kind_is_named_as_such(lognode: Lognode, tmp_path: Path) -> None:
    path = tmp_path / "all.bundle"
    lognode.text("bundle", "create", "-o", str(path))
    for raw, said in (
        (gzip.compress(path.read_bytes()), b"it is gzip; unpack it first"),
        (b'{"kind":"a.b"}\n', b"this is no bundle"),
        (b"", b"this is no bundle"),
    ):
        for command in ("verify", "import"):
            refused = lognode.run("bundle", command, "-", "--any-node", stdin=raw)
            assert (refused.returncode, said in refused.stderr) == (1, True)
            assert b"[bundle.invalid]" in refused.stderr

    imported = lognode.run("import", str(path))
    assert (imported.returncode, b"use 'lognode bundle import'" in imported.stderr) == (2, True)


def test_a_range_of_a_feed_and_private_spans_are_bundled_on_request(lognode: Lognode, tmp_path: Path) -> None:
    feed = lognode.json("append", "--kind", "secret.kept", "--title", "another", "--visibility", "private")["feed"]
    path = str(tmp_path / "range.bundle")

    facts = lognode.json("bundle", "create", "-o", path, "--feed", feed, "--start", "10", "--stop", "20")
    assert (facts["spans"], facts["feeds"][0]["start"], facts["feeds"][0]["complete"]) == (10, 10, True)
    facts = lognode.json("bundle", "create", "-o", path, "--kind", "secret.*", "--include-private")
    assert (facts["file"], facts["include_private"], facts["spans"] > 1) == (path, True, True)
    assert b"another" in Path(path).read_bytes()


def test_a_file_appears_only_once_it_is_whole(lognode: Lognode, tmp_path: Path) -> None:
    path = tmp_path / "old.bundle"
    path.write_bytes(b"what was there")

    refused = lognode.run("bundle", "create", "-o", str(path), "--feed", "0" * 26)
    assert (refused.returncode, path.read_bytes()) == (1, b"what was there")
    assert [found.name for found in tmp_path.iterdir()] == ["old.bundle"]
    lognode.text("bundle", "create", "-o", str(path))
    assert verify_bundle([path.read_bytes()]).spans > SPANS
    assert [found.name for found in tmp_path.iterdir()] == ["old.bundle"]


def test_a_place_where_no_file_can_be_is_refused_before_the_node_is_asked(lognode: Lognode, tmp_path: Path) -> None:
    for output, code in ((str(tmp_path), "usage.invalid"), ("", "usage.invalid"), ("/dev/null/x", "system.failed")):
        refused = lognode.run("bundle", "create", "-o", output, "--feed", "0" * 26, "--json")
        assert json.loads(refused.stderr)["code"] == code
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_goes_through_pipes(lognode: Lognode, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with lognode.start("bundle", "create", "--kind", "http.request", "-o", str(pipe)) as writing:
        assert verify_bundle([pipe.read_bytes()]).spans == SPANS
        writing.communicate()
    assert (writing.returncode, pipe.is_fifo()) == (0, True)

    made = lognode.run("bundle", "create", "--kind", "http.request", "-o", "-")
    assert (made.returncode, made.stderr) == (0, b"")

    shown = lognode.run("bundle", "verify", "-", "--any-node", stdin=made.stdout)
    assert (shown.returncode, b"Asked for  kind=http.request" in shown.stdout) == (0, True)


def test_a_bundle_that_the_node_breaks_off_says_where_to_look(
    lognode: Lognode, elsewhere: Lognode, tmp_path: Path
) -> None:
    raw = lognode.run("bundle", "create", "--kind", "http.request", "-o", "-").stdout
    half = Answer(200, raw[: len(raw) // 2], [("Content-Length", str(len(raw)))], has_length=False)
    with stub_node(half) as broken:
        done = elsewhere.run("bundle", "create", "-o", str(tmp_path / "x.bundle"), "--url", broken.url)

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"broke" in done.stderr
    assert b"log" in done.stderr
    assert b"[client.protocol]" in done.stderr
    assert [found.name for found in tmp_path.iterdir()] == ["elsewhere"]


# Into another node.


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Lognode]:
    """A second node, with nothing in it."""
    daemon = Daemon(tmp_path / "other")
    daemon.start()
    yield Lognode(tmp_path, daemon.data_dir)
    daemon.stop()


def test_an_imported_bundle_is_copies_with_their_origin_and_twice_adds_nothing(
    lognode: Lognode, other: Lognode, tmp_path: Path
) -> None:
    placed = lognode.text("append", "--kind", "order.placed", "--subject", "order:17", "--data", '{"b": 1.0, "a": [2]}')
    paid = lognode.text("append", "--kind", "order.paid", "--caused-by", placed, "--related", placed, "--tag", "x")
    path, who = str(tmp_path / "all.bundle"), lognode.text("id", "show")
    facts = lognode.json("bundle", "create", "-o", path)
    spans = {span["id"]: span for span in lognode.lines("export") if span["visibility"] != "private"}
    assert len(spans) == facts["spans"]

    dry = other.json("bundle", "import", path, "--node", who, "--dry-run")
    assert (dry["added"], dry["dry_run"], len(other.lines("export"))) == (len(spans) - 2, True, 2)
    assert other.text("bundle", "import", path, "--node", who) == (
        f"{len(spans) + facts['stubs']} spans: {len(spans) - 2} added, 0 already there, {2 + facts['stubs']} left out "
        f"(2 control spans, {facts['stubs']} spans whose content is not there)"
    )
    copies = [span for span in other.lines("export") if not span["kind"].startswith(("feed.", "tenant."))]
    for copy in copies:
        origin = copy["annotations"]["origin"]
        first = spans[origin["id"]]
        named = ("id", "at", "tenant", "node", "feed", "seq", "actor_signed")
        assert origin == {name: first[name] for name in named} | {"as": "bundle"}
        said = ("kind", "title", "data", "tags", "subject", "caused_by", "related", "metadata", "visibility", "status")
        assert {name: copy[name] for name in said} == {name: first[name] for name in said}
    assert [copy["annotations"]["origin"]["id"] for copy in copies] == list(spans)[2:]

    again = other.json("bundle", "import", "-", "--node", who, stdin=Path(path).read_bytes())
    assert (again["added"], again["already_there"]) == (0, len(spans) - 2)
    # An export of the same spans makes the same copies.
    assert other.json("import", "-", stdin=lognode.run("export", "--kind", "order.*").stdout)["added"] == 0
    # Old ids lead to the copies.
    assert other.json("show", placed)["annotations"]["origin"]["id"] == placed
    assert [cause["kind"] for cause in other.json("why", paid)["causes"]["spans"]] == ["order.placed"]
    assert other.run("verify").returncode == 0
    # At home, every span is there itself.
    assert lognode.json("bundle", "import", path, "--node", who)["added"] == 0


def test_an_import_tells_signatures_that_are_not_the_actors_and_copies_say_so(other: Lognode, tmp_path: Path) -> None:
    database = write_history(tmp_path, 150)
    forged = Body(bytes(16), "Forged", b"", [], None, None, None, None, [], b"", b"", bytes(64), None)
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        append_signed(conn, encode_body(forged), actor=logline(LogLineKind.PERSON, ALICE.public))
        raw = Place(conn).bundle(has_private=True)

    told = other.json("bundle", "import", "-", "--any-node", stdin=raw)
    words = other.text("bundle", "import", "-", "--any-node", stdin=raw)

    assert told["actors_missigned"] == 1
    assert words.splitlines()[1:] == ["1 span of the bundle is NOT signed by the actor that is named"]
    origins = {copy["title"]: copy["annotations"]["origin"] for copy in other.lines("export") if copy["annotations"]}
    assert origins["Forged"]["actor_signed"] is False
    assert sum(origin["actor_signed"] for origin in origins.values()) > 0


def test_nothing_is_imported_of_a_bundle_that_does_not_hold(lognode: Lognode, other: Lognode, tmp_path: Path) -> None:
    path, who = tmp_path / "some.bundle", lognode.text("id", "show")
    lognode.text("bundle", "create", "--kind", "http.request", "-o", str(path))
    last = bytearray(path.read_bytes())
    last[-10] ^= 1

    for arguments, raw, code in (
        (["--node", who], bytes(last), "bundle.invalid"),
        (["--node", who], path.read_bytes()[:-1], "bundle.invalid"),
        ([], path.read_bytes(), "bundle.untrusted"),
        (["--node", other.text("id", "show")], path.read_bytes(), "bundle.untrusted"),
    ):
        refused = other.run("bundle", "import", "-", *arguments, "--json", stdin=raw)
        assert (refused.returncode, json.loads(refused.stderr)["code"]) == (1, code)
        assert len(other.lines("export")) == 2


def test_the_spans_of_a_bundle_are_shown_as_an_export_shows_them(
    lognode: Lognode, elsewhere: Lognode, tmp_path: Path
) -> None:
    path, who = tmp_path / "some.bundle", lognode.text("id", "show")
    lognode.text("bundle", "create", "--kind", "http.request", "-o", str(path))
    shown = elsewhere.lines("bundle", "verify", str(path), "--spans", "--node", who)

    exported = lognode.lines("export", "--kind", "http.request")
    assert shown == [{name: value for name, value in span.items() if name != "position"} for span in exported]
    assert elsewhere.run("bundle", "verify", str(path), "--spans").stdout == b""


def test_what_is_shown_is_what_was_verified_even_if_the_file_changes_meanwhile(
    lognode: Lognode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path, who = tmp_path / "some.bundle", lognode.text("id", "show")
    forged = lognode.run("bundle", "create", "--kind", "tenant.*", "-o", "-").stdout
    lognode.text("bundle", "create", "--kind", "http.request", "-o", str(path))
    shown = lognode.run("bundle", "verify", str(path), "--spans", "--node", who).stdout

    # What anybody who may write the file can do at that moment.
    def verify_then_forge(chunks: Iterable[bytes]) -> Verdict:
        verdict = verify_bundle(chunks)
        path.write_bytes(forged)
        return verdict

    monkeypatch.setattr(reader, "verify_bundle", verify_then_forge)
    assert run(["bundle", "verify", str(path), "--spans", "--node", who]) == 0
    assert capfdbinary.readouterr().out == shown
    assert path.read_bytes() == forged


def test_private_content_is_told_also_where_other_private_spans_are_stubs(elsewhere: Lognode, tmp_path: Path) -> None:
    """Whoever passes a bundle on looks there for what leaves with it."""
    items = items_of(bundle_of(write_history(tmp_path, 200), has_private=True))
    head = items[0]
    assert isinstance(head, Head)
    at = next(at for at, item in enumerate(items) if isinstance(item, SpanItem) and item.visibility == PRIVATE)
    span = items[at]
    assert isinstance(span, SpanItem)
    items[at] = StubItem(span.feed, span.seq, span.hlc, sha256(span.header).digest(), span.shared, span.hashes)
    raw = joined(items, KEYS.log_key(head.feed))

    assert (
        "Private    included, and 1 besides, of which only time and hash are shown"
        in elsewhere.run("bundle", "verify", "-", "--any-node", stdin=raw).stdout.decode()
    )


def test_nothing_in_a_bundle_can_speak_for_lognode(lognode: Lognode, elsewhere: Lognode) -> None:
    lie = "x\nSealed by  somebody else\x1b[2J"
    raw = lognode.run("bundle", "create", "--subject", lie, "-o", "-").stdout
    shown = elsewhere.text("bundle", "verify", "-", "--any-node", stdin=raw)

    assert [line for line in shown.splitlines() if line.startswith("Sealed by")] == [
        f"Sealed by  {lognode.text('id', 'show')}"
    ]
    assert "Asked for  subject=x\u240aSealed by  somebody else\u241b[2J" in shown
