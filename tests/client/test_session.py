"""What a client does when its node refuses, goes away, or is none."""

import fcntl
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLCertVerificationError, SSLEOFError, SSLError

import msgspec
import pytest

from lognode.client import AsyncClient, Draft, Filter
from lognode.client.batch import BATCH_LINES_MAX
from lognode.client.problem import tls_failure
from lognode.core.errors import CallerError, LognodeError, NodeFault
from tests.client.forms import Connect
from tests.client.node_stub import CUT, SILENCE, Answer, problem, stub

RECEIPT = {"id": "s", "feed": "f", "seq": 1, "position": 2, "leaf": "00", "checkpoint_size": 2, "duplicate": False}
STORED = Answer(201, msgspec.json.encode(RECEIPT))
BUSY = problem("writer.busy", 503, headers=[("Retry-After", "0")])
EMPTY_PAGE = Answer(200, b'{"spans":[],"older":null,"newer":"c"}')


def free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def held_lock(data_dir: Path) -> AsyncIterator[None]:
    """While inside, the data directory looks as if a daemon ran on it."""
    with (data_dir / "lognode.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("trouble", [BUSY, CUT, problem("node.stopping", 503)], ids=["busy", "cut", "stopping"])
async def test_an_append_without_an_answer_is_sent_again_under_its_first_key(connect: Connect, trouble: Answer) -> None:
    async with stub(trouble, trouble, STORED) as node, connect(url=node.url) as client:
        assert await client.append(Draft(kind="a.b")) == RECEIPT

        assert len(node.asked) == 3
        assert len({(asked.headers["idempotency-key"], asked.body) for asked in node.asked}) == 1


async def test_two_appends_have_two_keys(connect: Connect) -> None:
    async with stub(STORED) as node, connect(url=node.url) as client:
        await client.append(Draft(kind="a.b"))
        await client.append(Draft(kind="a.b"))

        assert len({asked.headers["idempotency-key"] for asked in node.asked}) == 2


async def test_a_given_idempotency_key_is_the_one_that_is_sent(connect: Connect) -> None:
    async with stub(STORED) as node, connect(url=node.url) as client:
        await client.append(Draft(kind="a.b"), idempotency_key="order-17")

        assert node.asked[0].headers["idempotency-key"] == "order-17"


async def test_a_header_that_http_cannot_carry_is_not_quoted(connect: Connect) -> None:
    async with stub(STORED) as node, connect(url=node.url) as client:
        with pytest.raises(NodeFault, match="header") as caught:
            await client.append(Draft(kind="a.b"), idempotency_key="se\ncret")

        assert caught.value.code == "client.protocol"
        assert "cret" not in repr((caught.value, caught.value.__cause__))
        assert node.asked == []


async def test_a_node_that_speaks_no_tls_is_not_taken_for_one_that_does_not_run(connect: Connect) -> None:
    async with stub(STORED) as node, connect(url=node.url.replace("http:", "https:")) as client:
        with pytest.raises(NodeFault, match="speaks no TLS; try http://") as caught:
            await client.node()

        assert caught.value.code == "client.protocol"
    async with connect(url=free_url().replace("http:", "https:")) as client:
        with pytest.raises(NodeFault) as caught:
            await client.node()

        assert caught.value.code == "client.unreachable"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (SSLCertVerificationError(1, "self-signed certificate"), "TLS failed: self-signed certificate"),
        (SSLError(1, "handshake failure"), "TLS failed: handshake failure"),
        (SSLEOFError(8, "EOF occurred in violation of protocol"), None),
        (ConnectionResetError(), None),
    ],
    ids=["certificate", "handshake", "cut", "no TLS"],
)
def test_a_failure_of_tls_is_told_from_a_connection_that_was_cut(cause: OSError, said: str | None) -> None:
    error = OSError()
    error.__cause__ = cause

    assert tls_failure(error) == said


async def test_a_detail_that_repeats_the_title_is_left_out_and_the_tenant_named(connect: Connect) -> None:
    unknown = problem("tenant.unknown", 404, title="No such tenant", detail="No such tenant")
    missing = problem("token.missing", 401, title="Token missing", detail="Token missing")
    async with stub(unknown, unknown, missing) as node, connect(url=node.url, tenant="shop") as client:
        told = list[str]()
        for _ in range(2):
            with pytest.raises(CallerError) as caught:
                await (anext(client.tail(after="c")) if told else client.stats())
            told.append(str(caught.value))
        assert told == ["No such tenant: 'shop'"] * 2
        with pytest.raises(CallerError) as caught:
            await client.stats()
        assert str(caught.value) == "Token missing"
        assert caught.value.problem()["detail"] == "Token missing"


async def test_a_node_that_stays_busy_is_given_up_when_patience_ends(connect: Connect) -> None:
    async with stub(BUSY) as node, connect(url=node.url, patience_s=0.3) as client:
        with pytest.raises(NodeFault) as caught:
            await client.append(Draft(kind="a.b"))

        assert caught.value.code == "writer.busy"
        assert len(node.asked) > 1


async def test_a_wait_longer_than_the_patience_is_not_begun(connect: Connect) -> None:
    busy = problem("writer.busy", 503, headers=[("Retry-After", "3600")])
    async with stub(busy) as node, connect(url=node.url) as client:
        with pytest.raises(NodeFault) as caught:
            await client.stats()

        assert caught.value.retry_after_s == 3600
        assert len(node.asked) == 1


async def test_an_answer_that_does_not_come_is_not_waited_for_beyond_the_timeout(connect: Connect) -> None:
    async with stub(SILENCE, STORED) as node, connect(url=node.url, timeout_s=0.1) as client:
        assert await client.append(Draft(kind="a.b")) == RECEIPT

        assert len({asked.headers["idempotency-key"] for asked in node.asked}) == 1
    async with stub(SILENCE) as node, connect(url=node.url, timeout_s=0.1, patience_s=0) as client:
        with pytest.raises(NodeFault) as caught:
            await client.stats()

        assert caught.value.code == "client.unreachable"
        assert len(node.asked) == 1


async def test_a_refused_request_is_sent_once_and_keeps_what_the_problem_said(connect: Connect) -> None:
    refusal = problem("json.malformed", 400, place="line 7", line=7, appended=6, duplicates=0, last=RECEIPT)
    async with stub(refusal) as node, connect(url=node.url) as client:
        with pytest.raises(CallerError) as caught:
            await client.append_batch([b"{"])

        assert (caught.value.code, caught.value.detail, caught.value.place) == ("json.malformed", "D", "line 7")
        assert caught.value.extra == {"line": 7, "appended": 6, "duplicates": 0, "last": RECEIPT}
        assert len(node.asked) == 1


async def test_a_node_that_never_answered_is_not_running_at_once(connect: Connect) -> None:
    # With a patience that would outlast the test run if it were used.
    async with connect(url=free_url(), patience_s=100_000) as client:
        with pytest.raises(NodeFault) as caught:
            await client.append(Draft(kind="a.b"))

    assert caught.value.code == "client.unreachable"


async def test_a_data_directory_without_a_url_is_a_node_that_does_not_run(connect: Connect, tmp_path: Path) -> None:
    async with connect(data_dir=tmp_path) as client:
        with pytest.raises(NodeFault) as caught:
            await client.stats()

    assert caught.value.code == "client.unreachable"
    assert str(tmp_path) in caught.value.detail


async def test_a_node_that_came_back_at_another_port_is_found_again(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("secret\n")
    async with held_lock(tmp_path), connect(data_dir=tmp_path) as client:
        async with stub(EMPTY_PAGE) as before:
            (tmp_path / "api.url").write_text(before.url + "\n")
            await client.page()
        async with stub(STORED) as after:
            (tmp_path / "api.url").write_text(after.url + "\n")

            assert await client.append(Draft(kind="a.b")) == RECEIPT
            assert after.asked[0].headers["authorization"] == "Bearer secret"


async def test_the_token_goes_to_no_stranger_at_the_url_that_a_killed_node_left_behind(
    connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "admin.token").write_text("secret\n")
    (tmp_path / "lognode.lock").write_text("4711")
    (tmp_path / "lognode.lock").chmod(0o444)
    async with stub(EMPTY_PAGE) as stranger:
        (tmp_path / "api.url").write_text(stranger.url + "\n")
        async with connect(data_dir=tmp_path) as client:
            with pytest.raises(NodeFault) as caught:
                await client.page()

        assert caught.value.code == "client.unreachable"
        assert stranger.asked == []


async def test_a_node_that_was_killed_since_the_last_request_gets_none(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("secret\n")
    async with stub(EMPTY_PAGE) as node, connect(data_dir=tmp_path, patience_s=0.1) as client:
        (tmp_path / "api.url").write_text(node.url + "\n")
        async with held_lock(tmp_path):
            await client.page()
        with pytest.raises(NodeFault) as caught:
            await client.page()

        assert caught.value.code == "client.unreachable"
        assert len(node.asked) == 1


async def test_the_url_is_trusted_where_the_lock_cannot_be_read(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("secret\n")
    (tmp_path / "lognode.lock").symlink_to("lognode.lock")
    async with stub(EMPTY_PAGE) as node, connect(data_dir=tmp_path) as client:
        (tmp_path / "api.url").write_text(node.url + "\n")

        assert (await client.page())["newer"] == "c"


@pytest.mark.parametrize(
    "answer", [Answer(200, b"<html>hello"), Answer(404, b"<html>none"), Answer(418, b'{"code":"tea.pot"}')]
)
async def test_what_no_lognode_would_answer_is_a_protocol_fault(connect: Connect, answer: Answer) -> None:
    async with stub(answer) as node, connect(url=node.url) as client:
        with pytest.raises(NodeFault) as caught:
            await client.stats()

    assert caught.value.code == "client.protocol"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://127.0.0.1:port", "nonsense"])
async def test_a_url_that_is_none_is_a_protocol_fault(connect: Connect, url: str) -> None:
    async with connect(url=url) as client:
        with pytest.raises(NodeFault) as caught:
            await client.stats()

    assert caught.value.code == "client.protocol"


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@127.0.0.1:1", "http://hunter2@[::1", "http://me:hun@hunter2@x", "https://me:hunter2/#@x"],
)
async def test_a_url_with_a_password_is_refused_and_not_repeated(connect: Connect, url: str) -> None:
    async with connect(url=url) as client:
        with pytest.raises(NodeFault, match="token file") as caught:
            await client.stats()

    assert caught.value.code == "client.protocol"
    assert "hunter2" not in str(caught.value.problem())


async def test_a_proxy_of_the_environment_is_not_asked(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", free_url())
    monkeypatch.setenv("ALL_PROXY", free_url())
    async with stub(EMPTY_PAGE) as node, connect(url=node.url) as client:
        assert (await client.page())["newer"] == "c"


async def test_the_bad_line_of_a_later_batch_is_named_by_its_number_in_all(connect: Connect) -> None:
    batch = Answer(200, b'{"lines":1,"appended":1,"duplicates":0,"first":null,"last":null,"checkpoint_size":1}')
    refusal = problem("kind.invalid", 422, place="line 3: kind", line=3)
    async with stub(batch, refusal) as node, connect(url=node.url) as client:
        answers = client.append_lines(b'{"kind":"a.b"}' for _ in range(BATCH_LINES_MAX + 10))
        await anext(answers)
        with pytest.raises(LognodeError) as caught:
            await anext(answers)

        assert caught.value.extra["line"] == BATCH_LINES_MAX + 3
        assert caught.value.place == f"line {BATCH_LINES_MAX + 3}: kind"
        assert node.asked[1].body.count(b"\n") == 9


async def take_all(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


async def test_a_bundle_that_the_node_breaks_off_is_no_node_that_does_not_run(connect: Connect) -> None:
    half = Answer(200, b"half", [("Content-Length", "8")], has_length=False)
    async with stub(half) as node, connect(url=node.url) as client:
        with pytest.raises(NodeFault, match="log") as caught:
            async with client.bundle() as chunks:
                await take_all(chunks)

        assert caught.value.code == "client.protocol"
        assert len(node.asked) == 1
    async with connect(url=free_url()) as client:
        with pytest.raises(NodeFault) as caught:
            async with client.bundle() as chunks:
                await take_all(chunks)

        assert caught.value.code == "client.unreachable"


def event(cursor: str, number: int) -> bytes:
    return b'id: %s\nevent: span\ndata: {"id":"%d"}\n\n' % (cursor.encode(), number)


def stream(*events: bytes) -> Answer:
    return Answer(200, b"".join(events), [("Content-Type", "text/event-stream")], has_length=False)


async def take(client: AsyncClient, count: int) -> tuple[list[str], list[str]]:
    """The ids of the first arrivals of a tail, and the codes of the losses in between."""
    losses = list[str]()
    arrivals = client.tail(Filter(kinds=("a.b",)), on_lost=lambda error: losses.append(error.code))
    return [(await anext(arrivals)).span["id"] for _ in range(count)], losses


async def test_a_tail_goes_on_after_the_last_event_when_the_connection_was_cut(connect: Connect) -> None:
    half = b"id: c3\nevent: span\nda"
    async with stub(EMPTY_PAGE, stream(event("c1", 1), event("c2", 2), half), stream(event("c3", 3))) as node:
        async with connect(url=node.url) as client:
            ids, losses = await take(client, 3)

        assert ids == ["1", "2", "3"]
        assert len(losses) == 1
        assert [asked.headers.get("last-event-id") for asked in node.asked] == [None, "c", "c2"]
        assert node.asked[1].path == "/v1/tenants/default/live?kind=a.b"


async def test_a_tail_goes_on_after_an_id_that_came_without_a_span(connect: Connect) -> None:
    answers = (EMPTY_PAGE, stream(b":\n\nid: c9\n\n"), stream(event("c10", 1)))
    async with stub(*answers) as node, connect(url=node.url) as client:
        await take(client, 1)

        assert node.asked[2].headers["last-event-id"] == "c9"


async def test_a_tail_tells_of_each_outage_once_and_of_its_end(connect: Connect) -> None:
    stopping = problem("node.stopping", 503)
    back = stream(b"retry: 1\nid: c1\n\n")
    answers = (stream(event("c1", 1)), CUT, stopping, CUT, back, CUT, CUT, stream(event("c2", 2)))
    said = list[str]()
    async with stub(*answers) as node, connect(url=node.url) as client:
        tail = client.tail(
            after="c", on_lost=lambda error: said.append(error.code), on_back=lambda: said.append("back")
        )
        assert [(await anext(tail)).span["id"] for _ in range(2)] == ["1", "2"]

        assert said == ["client.unreachable", "back"] * 2
        assert len(node.asked) == len(answers)


async def test_a_tail_that_is_refused_ends(connect: Connect) -> None:
    async with stub(EMPTY_PAGE, problem("filter.invalid", 400)) as node, connect(url=node.url) as client:
        with pytest.raises(CallerError):
            await take(client, 1)

    assert len(node.asked) == 2
