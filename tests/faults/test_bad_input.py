"""Input that is wrong, through every door of a real daemon: its own code, and nothing stored, lost or doubled."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lognode.core.errors import ERRORS
from lognode.core.limits import BODY_BYTES_MAX, DRAFT_LINE_BYTES_MAX
from tests.cli.lognode_command import Lognode
from tests.faults.load import SOCKET, SPANS, Parcel
from tests.faults.processes import HinderedDaemon, refused, verify_command
from tests.faults.trial import Trial
from tests.faults.websocket import Socket, SocketLost

SEED: Final = 5001
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
LINES: Final = 10_000
BAD_LINE: Final = 5_000

# What is wrong with a draft: its text, and the code that says so.
BAD_DRAFTS: Final = {
    "malformed": (b'{"kind": "a.b", "title": }', "json.malformed"),
    "cut short": (b'{"kind": "a.b", "title": "x', "json.malformed"),
    "not UTF-8": (b'{"kind": "a.b", "title": "\xff"}', "json.not_utf8"),
    "depth bomb": (b'{"kind": "a.b", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json.too_deep"),
    "NaN": (b'{"kind": "a.b", "data": {"n": NaN}}', "json.number"),
    "infinite": (b'{"kind": "a.b", "data": {"n": 1e999}}', "json.number"),
    "a key twice": (b'{"kind": "a.b", "data": {"n": 1, "n": 2}}', "json.duplicate_key"),
    "over-size": (b'{"kind": "a.b", "data": "%s"}' % (b"x" * BODY_BYTES_MAX), "draft.too_large"),
    "a reserved kind": (b'{"kind": "feed.open"}', "kind.reserved"),
    "no kind": (b'{"title": "x"}', "draft.invalid"),
}
NEVER: Final = {"kind": "a.b", "data": {"name": "never to be stored"}}
TEXTS: Final = [name for name in BAD_DRAFTS if name != "not UTF-8"]  # a text frame cannot be anything else


@pytest.fixture(scope="module")
def module_trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with HinderedDaemon(tmp_path_factory.mktemp("bad") / "node") as daemon:
        daemon.start()
        trial = Trial(daemon, SEED)
        with trial.load():
            time.sleep(0.2)
        trial.settle()
        yield trial
        verify_command(daemon.data_dir)
        daemon.stop()


@pytest.fixture
def trial(module_trial: Trial) -> Iterator[Trial]:
    """A daemon with some spans, which must all be there afterwards, with whatever the test says it has sent."""
    yield module_trial
    module_trial.settle()
    module_trial.check(all_sent=True)


@pytest.fixture
def http(trial: Trial) -> Iterator[httpx.Client]:
    with trial.daemon.client() as http:
        yield http


def assert_refused(answer: httpx.Response, code: str) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["code"], answer.status_code) == (code, ERRORS[code].status), problem
    return problem


def some(trial: Trial, count: int) -> Parcel:
    """Good drafts for a stream: the trial sends them again when the test is over, and expects each once."""
    return trial.stream.parcel_of(count)


@pytest.mark.parametrize("what", BAD_DRAFTS)
def test_one_draft_is_refused_that_is(http: httpx.Client, what: str) -> None:
    draft, code = BAD_DRAFTS[what]

    assert_refused(http.post(SPANS, content=draft, headers={"Content-Type": "application/json"}), code)


@pytest.mark.parametrize("what", BAD_DRAFTS)
def test_a_stream_stops_at_a_line_that_is(trial: Trial, http: httpx.Client, what: str) -> None:
    draft, code = BAD_DRAFTS[what]
    before = some(trial, 3)
    body = b"".join([*before.lines(), draft, b"\n", json.dumps(NEVER).encode()])

    answer = http.post(SPANS, content=body, headers={**NDJSON, "Idempotency-Key": before.key})

    problem = assert_refused(answer, code)
    assert (problem["line"], problem["appended"], problem["duplicates"]) == (4, 3, 0)
    assert problem["place"].startswith("line 4")


@pytest.mark.parametrize("what", TEXTS)
def test_a_socket_refuses_a_frame_and_goes_on_when_its_draft_is(trial: Trial, what: str) -> None:
    draft, code = BAD_DRAFTS[what]
    parcel = trial.socket.parcel_of(1)
    with Socket(trial.daemon.url, SOCKET, trial.daemon.token) as socket:
        socket.send_text('{"type": "append", "ref": 1, "draft": ' + draft.decode() + "}")
        refusal = socket.receive()
        socket.send(type="append", ref=2, draft=parcel.drafts[parcel.key], idempotency_key=parcel.key)
        answer = socket.receive()

    assert (refusal["type"], refusal["problem"]["code"]) == ("error", code)
    assert answer["type"] == "receipt"


@pytest.mark.parametrize("what", ["malformed", "not UTF-8", "over-size"])
def test_an_import_exits_with_1_at_a_line_that_is(trial: Trial, tmp_path: Path, what: str) -> None:
    draft, code = BAD_DRAFTS[what]

    refusal = refused(
        tmp_path, "import", "-", "--data-dir", str(trial.daemon.data_dir), stdin=b"\n" + draft + b"\n{}\n"
    )

    assert (refusal.code, refusal.exit_code) == (code, 1)
    assert refusal.problem["line"] == 2


@pytest.mark.parametrize("has_length", [True, False], ids=["announced", "chunked"])
def test_a_body_larger_than_any_draft_is_refused(http: httpx.Client, *, has_length: bool) -> None:
    body = b'{"kind": "a.b", "data": "' + b"x" * DRAFT_LINE_BYTES_MAX + b'"}'

    answer = http.post(
        SPANS, content=body if has_length else iter([body]), headers={"Content-Type": "application/json"}
    )

    assert_refused(answer, "request.too_large")


def test_a_line_larger_than_any_draft_is_refused_before_its_end(trial: Trial, http: httpx.Client) -> None:
    before = some(trial, 2)
    body = [*before.lines(), b'{"kind": "a.b", "data": "', *[b"x" * 65_536] * (DRAFT_LINE_BYTES_MAX // 65_536 + 1)]

    answer = http.post(SPANS, content=iter(body), headers={**NDJSON, "Idempotency-Key": before.key})

    assert assert_refused(answer, "draft.too_large")["line"] == 3


def test_a_frame_larger_than_any_draft_ends_its_socket_only(trial: Trial) -> None:
    with (
        Socket(trial.daemon.url, SOCKET, trial.daemon.token) as other,
        Socket(trial.daemon.url, SOCKET, trial.daemon.token) as socket,
    ):
        # The daemon may close before it has read all of it.
        with suppress(SocketLost):
            socket.send_text(json.dumps({"type": "append", "draft": "x" * (3 * DRAFT_LINE_BYTES_MAX)}))
        with pytest.raises(SocketLost):
            socket.receive()
        other.send(type="subscribe", ref=1)
        assert other.receive()["type"] == "subscribed"


def test_a_key_that_stands_for_another_draft_is_refused(trial: Trial, http: httpx.Client, tmp_path: Path) -> None:
    """By header, by line and by frame; and the command exits with 5."""
    stream, single = some(trial, 3), trial.single.parcel_of(1)
    lines, key = stream.lines(), single.key
    with_stream_key = {**NDJSON, "Idempotency-Key": stream.key}
    assert http.post(SPANS, content=b"".join(lines), headers=with_stream_key).is_success
    assert http.post(SPANS, json=single.drafts[key], headers={"Idempotency-Key": key}).is_success
    changed = b"".join([lines[0], json.dumps(NEVER).encode() + b"\n", lines[2]])

    by_header = http.post(SPANS, json=NEVER, headers={"Idempotency-Key": key})
    by_draft = http.post(SPANS, json={**NEVER, "idempotency_key": key})
    by_line = http.post(SPANS, content=changed, headers=with_stream_key)
    with Socket(trial.daemon.url, SOCKET, trial.daemon.token) as socket:
        socket.send(type="append", ref=1, draft=NEVER, idempotency_key=key)
        by_frame = socket.receive()
    here = ("--data-dir", str(trial.daemon.data_dir))
    by_command = refused(tmp_path, "append", "--kind", "a.b", "--idempotency-key", key, *here)

    assert_refused(by_header, "idempotency.mismatch")
    assert_refused(by_draft, "idempotency.mismatch")
    problem = assert_refused(by_line, "idempotency.mismatch")
    assert (problem["line"], problem["appended"], problem["duplicates"]) == (2, 0, 1)
    assert by_frame["problem"]["code"] == "idempotency.mismatch"
    assert (by_command.code, by_command.exit_code) == ("idempotency.mismatch", 5)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": "Bearer wrong"}, "token.wrong"),
        ({"Authorization": ""}, "token.wrong"),
        ({"Host": "lognode.example"}, "host.forbidden"),
        ({"Origin": "http://lognode.example"}, "origin.forbidden"),
    ],
)
def test_nobody_is_let_in_with(trial: Trial, http: httpx.Client, headers: dict[str, str], code: str) -> None:
    assert_refused(http.post(SPANS, json=NEVER, headers=headers), code)
    assert_refused(http.get(SPANS, headers=headers), code)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert_refused(http.get(SOCKET, headers={**upgrade, **key, **headers}), code)


def test_a_command_with_a_wrong_token_exits_with_4(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")

    refusal = refused(
        tmp_path, "append", "--kind", "a.b", "--url", trial.daemon.url, "--token-file", str(tmp_path / "token")
    )

    assert (refusal.code, refusal.exit_code) == ("token.wrong", 4)


def test_a_tenant_that_is_not_here_is_unknown(trial: Trial, http: httpx.Client, tmp_path: Path) -> None:
    elsewhere = SPANS.replace("default", "a" * 32)

    assert_refused(http.post(elsewhere, json={"kind": "a.b"}), "tenant.unknown")
    assert_refused(http.get(elsewhere), "tenant.unknown")
    here = ("--data-dir", str(trial.daemon.data_dir))
    refusal = refused(tmp_path, "append", "--kind", "a.b", "--tenant", "elsewhere", *here)
    assert (refusal.code, refusal.exit_code) == ("tenant.unknown", 1)


def test_a_stream_of_10_000_lines_stops_at_the_malformed_line_5_000(trial: Trial, http: httpx.Client) -> None:
    check_bad_line(trial, http)


def test_an_import_of_10_000_lines_stops_at_the_malformed_line_5_000(trial: Trial, tmp_path: Path) -> None:
    parcel = some(trial, LINES)
    del trial.stream.pending[parcel.key]  # the command makes keys of its own: nobody else may send these
    names, good = list(parcel.drafts), tmp_path / "good.ndjson"
    good.write_bytes(b"".join(parcel.lines()))
    bad = b"".join(with_bad_line(parcel))

    refusal = refused(tmp_path, "import", "-", "--data-dir", str(trial.daemon.data_dir), stdin=bad)
    stored = stored_of(trial, names)
    told = Lognode(tmp_path, trial.daemon.data_dir).json("import", str(good))

    assert (refusal.code, refusal.exit_code) == ("json.malformed", 1)
    assert (refusal.problem["line"], refusal.problem["appended"]) == (BAD_LINE, BAD_LINE - 1)
    assert stored == names[: BAD_LINE - 1]
    counts = {"lines": LINES, "added": LINES - BAD_LINE + 1, "already_there": BAD_LINE - 1, "left_out": {}}
    assert told == counts


def check_bad_line(trial: Trial, http: httpx.Client) -> None:
    """Asserts that everything before a bad line is in, and nothing from it on; then sends the mended lines."""
    parcel = some(trial, LINES)
    names, headers = list(parcel.drafts), {**NDJSON, "Idempotency-Key": parcel.key}

    refusal = http.post(SPANS, content=b"".join(with_bad_line(parcel)), headers=headers)
    stored = stored_of(trial, names)
    told = http.post(SPANS, content=b"".join(parcel.lines()), headers=headers).json()

    problem = assert_refused(refusal, "json.malformed")
    assert (problem["line"], problem["place"]) == (BAD_LINE, f"line {BAD_LINE}")
    assert (problem["appended"], problem["duplicates"]) == (BAD_LINE - 1, 0)
    assert stored == names[: BAD_LINE - 1]
    assert (told["lines"], told["appended"]) == (LINES, LINES - BAD_LINE + 1)


def with_bad_line(parcel: Parcel) -> list[bytes]:
    """The lines, one of them cut short."""
    lines = parcel.lines()
    lines[BAD_LINE - 1] = lines[BAD_LINE - 1][:-3] + b"\n"
    return lines


def stored_of(trial: Trial, names: list[str]) -> list[str | None]:
    """Those of the names that are stored, by arrival."""
    wanted = set(names)
    trial.history.read(trial.daemon)
    return [row.name for row in trial.history.rows if row.name in wanted]


def test_a_daemon_that_puts_up_with_bad_lines_is_found(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="lenient") as daemon:
        daemon.start()
        with daemon.client() as http, pytest.raises(AssertionError):
            check_bad_line(Trial(daemon, SEED), http)
