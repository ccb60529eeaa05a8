"""The SDK against a real daemon."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_type_hints
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from lognode.client import AsyncClient, Draft, Filter, Span
from lognode.client.batch import BATCH_LINES_MAX
from lognode.client.sse import EventParser
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import PAGE_SPANS_MAX
from tests.client.forms import Connect
from tests.client.node_stub import Answer, stub
from tests.daemon import Daemon


@pytest.fixture(scope="module")
def node(connect: Connect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for each form; a test looks only at spans of its own kind."""
    home = tmp_path_factory.mktemp("client")
    daemon = Daemon(home / "node", "--unix-socket", str(home / "api.sock"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
async def client(connect: Connect, node: Daemon) -> AsyncIterator[AsyncClient]:
    async with connect(data_dir=node.data_dir) as client:
        yield client


async def test_a_span_comes_back_as_it_was_drafted(client: AsyncClient) -> None:
    cause = await client.append(Draft(kind="order.placed"))
    draft = Draft(
        kind="order.paid",
        title="Order 17",
        data={"amount": 12.5, "lines": [1, None, "é\u2028"], "open": False},
        tags=("b", "a"),
        subject="order 17",
        contract_id="c",
        workflow_id="w",
        flow_id="f",
        related=(cause["id"],),
        metadata={"source": "till"},
        visibility="private",
        status="simulated",
        caused_by=cause["id"],
    )

    span = await client.span((await client.append(draft))["id"])

    for field in ("kind", "title", "data", "subject", "metadata", "visibility", "status", "caused_by", "flow_id"):
        assert span[field] == getattr(draft, field)
    assert (span["tags"], span["related"]) == (["a", "b"], [cause["id"]])


async def test_the_fields_of_a_span_are_those_that_a_node_sends(client: AsyncClient) -> None:
    span = await client.span((await client.append(Draft(kind="field.named")))["id"])

    assert set(span) | {"body", "body_fault", "depth", "void", "restored_from", "reverted_by"} == set(
        get_type_hints(Span)
    )


async def test_the_same_key_gives_the_same_span_and_no_other(client: AsyncClient) -> None:
    first = await client.append(Draft(kind="key.used", title="one"), idempotency_key="k1")
    again = await client.append(Draft(kind="key.used", title="one"), idempotency_key="k1")

    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert again["id"] == first["id"]
    with pytest.raises(CallerError) as caught:
        await client.append(Draft(kind="key.used", title="two"), idempotency_key="k1")
    assert caught.value.code == "idempotency.mismatch"


async def test_any_number_of_lines_is_sent_in_batches_and_read_in_pages(client: AsyncClient) -> None:
    count = BATCH_LINES_MAX + 10
    drafts = (Draft(kind="line.sent", title=str(number)) for number in range(count))

    answers = [item async for item in client.append_lines(drafts)]

    assert [answer["appended"] for answer in answers] == [BATCH_LINES_MAX, 10]
    titles = [span.get("title") async for span in client.spans(Filter(kinds=("line.sent",)))]
    assert titles == [str(number) for number in range(count)]
    newest = client.spans(Filter(kinds=("line.sent",)), newest_first=True, limit=PAGE_SPANS_MAX + 1)
    assert [span.get("title") async for span in newest] == titles[: -PAGE_SPANS_MAX - 2 : -1]


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_short_page_is_not_taken_for_the_last(connect: Connect, *, newest_first: bool) -> None:
    pages = [
        {"spans": [{"title": "a"}, {"title": "b"}], "older": "1", "newer": "2", "more": True},
        {"spans": [], "older": "2", "newer": "3", "more": True},  # so many were looked at, and none matched
        {"spans": [{"title": "c"}], "older": "3", "newer": "4", "more": True},
        {"spans": [], "older": None, "newer": "4", "more": False},
    ]
    answers = [Answer(200, msgspec.json.encode(page)) for page in pages]
    async with stub(*answers) as node, connect(url=node.url) as client:
        assert [span["title"] async for span in client.spans(newest_first=newest_first)] == ["a", "b", "c"]
        queries = [parse_qs(urlsplit(asked.path).query) for asked in node.asked]
        name, cursors = ("before", ["1", "2", "3"]) if newest_first else ("after", ["2", "3", "4"])
        assert [query.get(name) for query in queries] == [None, *([cursor] for cursor in cursors)]
    async with stub(*answers) as node, connect(url=node.url) as client:
        assert len([item async for item in client.spans(newest_first=newest_first, limit=3)]) == 3
        limits = [parse_qs(urlsplit(asked.path).query)["limit"] for asked in node.asked]
        assert limits == [["3"], ["1"], ["1"]]


async def test_a_bad_line_is_named_and_what_stands_before_it_is_in(client: AsyncClient) -> None:
    lines = [b'{"kind":"bad.followed"}', b"", b'{"kind":"bad.followed"}', b'{"kind":7}', b'{"kind":"bad.followed"}']

    with pytest.raises(CallerError) as caught:
        await client.append_batch(lines)

    assert caught.value.code == "draft.invalid"
    assert (caught.value.extra["line"], caught.value.extra["appended"]) == (4, 2)
    assert len([item async for item in client.spans(Filter(kinds=("bad.followed",)))]) == 2


async def test_filters_find_what_they_name(client: AsyncClient) -> None:
    tried = await client.append(Draft(kind="filter.tried", subject="s 1", tags=("x", "y")))
    met = Draft(kind="filter.met", subject="s 2", tags=("x",), caused_by=tried["id"], flow_id="f 9")
    cause, effect = tried["id"], (await client.append(met))["id"]
    now = datetime.now(UTC)

    async def found(where: Filter) -> list[str]:
        return [span["id"] async for span in client.spans(where)]

    both = ("filter.tried", "filter.met")
    assert await found(Filter(kinds=both)) == [cause, effect]
    assert await found(Filter(kinds=("filter.*",), tags=("x", "y"))) == [cause]
    assert await found(Filter(subject="s 2")) == [effect]
    assert await found(Filter(caused_by=cause)) == [effect]
    assert await found(Filter(flow="f 9", order="arrival")) == [effect]
    assert await found(Filter(kinds=both, since=now + timedelta(hours=1))) == []
    assert await found(Filter(kinds=both, since=now - timedelta(hours=1), until=now + timedelta(hours=1))) == [
        cause,
        effect,
    ]


async def test_causes_and_effects_lead_to_each_other(client: AsyncClient) -> None:
    cause = (await client.append(Draft(kind="cause.seen")))["id"]
    effect = (await client.append(Draft(kind="effect.seen", caused_by=cause)))["id"]

    assert [(span["id"], span["depth"]) for span in (await client.causes(effect))["spans"]] == [(cause, 1)]
    assert [(span["id"], span["depth"]) for span in (await client.effects(cause))["spans"]] == [(effect, 1)]


async def test_a_proof_and_a_checkpoint_are_those_of_the_open_feed(client: AsyncClient) -> None:
    receipt = await client.append(Draft(kind="proof.asked"))
    (feed,) = [feed for feed in (await client.stats())["feeds"] if feed["open"]]
    name = feed["vkey"].split("+")[0]

    assert (await client.proof(receipt["id"])).startswith(b"c2sp.org/tlog-proof@v1\n")
    assert (await client.checkpoint()).startswith(name.encode() + b"\n")
    assert await client.checkpoint(feed["feed"]) == await client.checkpoint()


async def test_a_client_works_over_the_unix_socket(connect: Connect, node: Daemon) -> None:
    socket = node.data_dir.parent / "api.sock"

    async with connect(url=f"unix:{socket}", token_file=node.data_dir / "admin.token") as client:
        assert (await client.node())["node"].startswith("logline-id://node/")


async def test_a_wrong_token_and_an_unknown_tenant_are_refused(connect: Connect, node: Daemon, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    async with connect(url=node.url, token_file=tmp_path / "token") as client:
        with pytest.raises(LognodeError) as caught:
            await client.stats()
    assert caught.value.code == "token.wrong"

    async with connect(data_dir=node.data_dir, tenant="no such") as client:
        with pytest.raises(LognodeError) as caught:
            await client.stats()
    assert caught.value.code == "tenant.unknown"


async def follow_through_kill_and_restart(connect: Connect, daemon: Daemon) -> list[str | None]:
    """The titles that a tail shows of the spans 0 to 5, the node being killed after every other one."""
    async with connect(data_dir=daemon.data_dir) as client, client.tail(Filter(kinds=("tail.seen",))) as arrivals:
        seen = list[str | None]()
        for number in range(6):
            await client.append(Draft(kind="tail.seen", title=str(number)))
            await client.append(Draft(kind="tail.unseen"))
            if number % 2:
                daemon.kill()
                daemon.start()
            else:
                seen.append((await anext(arrivals)).span.get("title"))
        seen += [(await anext(arrivals)).span.get("title") for _ in range(3)]
        return seen


async def test_a_tail_shows_each_span_once_through_kill_and_restart(connect: Connect, daemon: Daemon) -> None:
    assert await follow_through_kill_and_restart(connect, daemon) == ["0", "1", "2", "3", "4", "5"]


async def test_a_tail_that_kept_no_cursor_would_repeat_spans(
    connect: Connect, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = EventParser.feed
    monkeypatch.setattr(EventParser, "feed", lambda *args: [event._replace(id=None) for event in feed(*args)])

    seen = await follow_through_kill_and_restart(connect, daemon)
    assert len(set(seen)) < len(seen)


async def test_a_tail_goes_on_where_another_program_left_it(client: AsyncClient) -> None:
    async with client.tail(Filter(kinds=("tail.left",))) as tail:
        await client.append(Draft(kind="tail.left", title="0"))
        await client.append(Draft(kind="tail.left", title="1"))
        arrival = await anext(tail)
        assert (arrival.cursor, arrival.span["title"]) == (tail.cursor, "0")
    async with client.tail(Filter(kinds=("tail.left",)), after=arrival.cursor) as tail:
        assert (await anext(tail)).span["title"] == "1"


async def test_closing_the_client_ends_its_tails(connect: Connect, node: Daemon) -> None:
    async with connect(data_dir=node.data_dir) as client:
        tail = client.tail(Filter(kinds=("tail.ended",)), after=await client.newest_cursor())
        await client.append(Draft(kind="tail.ended"))
        await anext(tail)

    assert [arrival async for arrival in tail] == []
