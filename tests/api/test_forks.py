"""Feeds with two histories over HTTP, in the client and in commands: what is shown, proven and readable."""

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.cli.main import run
from lognode.client.aio.client import AsyncClient
from lognode.client.place import Address
from lognode.core.access import Level
from lognode.core.ids import b32encode
from lognode.identity.keys import NodeKeys
from lognode.timeline.members import Cut
from lognode.timeline.proof.fork import check_fork, parse_fork
from tests.agreement.split import twin
from tests.api.serving import code_of, http_client, serve
from tests.timeline.pens import Pen, admitted

BOB = NodeKeys.from_seed(b"b" * 32)
FORKS = "/v1/tenants/default/forks"


class Case(NamedTuple):
    """A served node that holds one history of Bob's feed, and has found another."""

    http: httpx.AsyncClient
    url: str
    services: Services
    one: Pen
    other: Pen

    @property
    def feed(self) -> str:
        return b32encode(self.one.feed_id)


@pytest.fixture
async def case(services: Services) -> AsyncIterator[Case]:
    tenant, keys = services.store.tenants["default"], services.desk.ground.keys
    receipt = await services.writer.append_control(
        tenant, "member.admit", lambda _, after: admitted(BOB, keys, tenant.tenant_id, after, Level.TRUSTED)
    )
    one = Pen(BOB, tenant.tenant_id, [receipt.id])
    one.write("order.placed", title="common")
    other = twin(one)
    for number in range(3):
        one.write("order.paid", title=f"one {number}")
    for number in range(2):
        other.write("order.sent", title=f"other {number}", subject="order 1")
    assert await services.writer.ingest(tenant, [one.range()]) == [5]
    assert await services.writer.forks.keep(tenant, one.feed_id, [other.range()])
    async with serve(services) as url, http_client(services, url) as http:
        yield Case(http, url, services, one, other)


async def test_a_fork_is_listed_shown_and_proven(case: Case) -> None:
    (fork,) = (await case.http.get(FORKS)).json()["forks"]
    assert (fork["feed"], fork["seq"], fork["own"], fork["found_here"], fork["told"]) == (
        case.feed,
        2,
        False,
        True,
        True,
    )
    assert fork["branches"][0]["tip"] == "held"
    assert [(branch["start"], branch["stop"]) for branch in fork["branches"]] == [(2, 5), (2, 4)]
    assert (await case.http.get(f"{FORKS}/{case.feed}")).json() == fork
    answer = await case.http.get(f"{FORKS}/{case.feed}/proof")
    assert answer.headers["content-type"].startswith("text/plain")
    shown = check_fork(parse_fork(answer.content))
    assert (shown.feed, shown.seq, shown.node_key) == (case.one.feed_id, 2, BOB.public)
    tenant = case.services.store.tenants["default"]
    members = case.services.desk.ground.membership(tenant)
    assert members.cuts[case.one.feed_id] == Cut(2, "feed.forked")


async def test_both_histories_are_readable(case: Case) -> None:
    (fork,) = (await case.http.get(FORKS)).json()["forks"]
    page: dict[str, Any] = {}
    for branch, pen in zip(fork["branches"], (case.one, case.other), strict=True):
        page = (await case.http.get(f"{FORKS}/{case.feed}/branches/{branch['tip']}")).json()
        assert [entry["seq"] for entry in page["entries"]] == list(range(2, len(pen.entries)))
        assert page["next"] is None
        assert {entry["kind"] for entry in page["entries"]} == {"order.paid" if pen is case.one else "order.sent"}
        later = (await case.http.get(f"{FORKS}/{case.feed}/branches/{branch['tip']}", params={"start": 3})).json()
        assert later["entries"] == page["entries"][1:]
    assert page["entries"][0]["title"] == "other 0"
    assert page["entries"][0]["subject"] == "order 1"
    spans = (await case.http.get("/v1/tenants/default/spans")).json()["spans"]
    assert not {"order.paid", "order.sent"} & {span["kind"] for span in spans}
    assert "order.placed" in {span["kind"] for span in spans}


async def test_what_does_not_fork_is_refused(case: Case) -> None:
    unknown = b32encode(bytes(16))
    for path in (unknown, f"{unknown}/proof", f"{unknown}/branches/held", f"{case.feed}/branches/00"):
        assert code_of(await case.http.get(f"{FORKS}/{path}")) == "fork.unknown"
    assert code_of(await case.http.get(f"{FORKS}/x")) == "id.malformed"
    assert code_of(await case.http.get(f"{FORKS}/{case.feed}", params={"x": "1"})) == "filter.invalid"


async def test_the_client_reads_forks(case: Case, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_bytes(case.services.admin_token)
    token.chmod(0o600)
    async with AsyncClient(Address(url=case.url, token_file=token)) as client:
        (fork,) = await client.forks()
        assert await client.fork(case.feed) == fork
        assert check_fork(parse_fork(await client.fork_proof(case.feed))).seq == 2
        assert len((await client.fork_entries(case.feed, "held", start=3))["entries"]) == 2


async def test_commands_show_export_and_check(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token, proof = tmp_path / "token", tmp_path / "bob.fork"
    token.write_bytes(case.services.admin_token)
    token.chmod(0o600)
    there = ["--url", case.url, "--token-file", str(token)]

    async def command(*arguments: str) -> str:
        code = await trio.to_thread.run_sync(partial(run, list(arguments)))
        assert code == 0, capsys.readouterr()
        return capsys.readouterr().out

    assert case.feed in await command("fork", "list", *there)
    shown = await command("fork", "show", case.feed, *there)
    assert "held" in shown
    assert "two copies" in shown
    assert "other 1" in await command("fork", "show", case.feed, "--branch", case.other.head[2].hex(), *there)
    assert "other 1" in await command("fork", "show", case.feed[:9], "--branch", case.other.head[2].hex()[:9], *there)
    await command("fork", "export", case.feed[:9], "-o", str(proof), *there)
    assert case.feed in await command("check-fork", str(proof))
    assert '"ok":true' in await command("check-fork", str(proof), "--json")
    proof.write_bytes(proof.read_bytes().replace(b"index 2", b"index 3"))
    assert await trio.to_thread.run_sync(partial(run, ["check-fork", str(proof)])) == 1
    assert "fork.invalid" in capsys.readouterr().err


async def test_the_proof_of_a_void_span_says_why_it_is_void(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_bytes(case.services.admin_token)
    token.chmod(0o600)
    there = ["--url", case.url, "--token-file", str(token)]
    (common,) = (await case.http.get("/v1/tenants/default/spans", params={"kind": "order.placed"})).json()["spans"]
    (stranded, *_) = (await case.http.get(f"{FORKS}/{case.feed}/branches/held")).json()["entries"]
    path = ""
    for span, reason in ((common["id"], None), (stranded["id"], "feed.forked")):
        path = f"/v1/tenants/default/spans/{span}/proof"
        answer = await case.http.get(path)
        assert answer.headers.get("lognode-void") == reason
        said = (await case.http.get(path, params={"void": "true"})).json()
        assert said == {"proof": answer.text, "void": reason}
        async with AsyncClient(Address(url=case.url, token_file=token)) as client:
            assert await client.proven(span) == said
            assert (await client.proof(span)).decode() == said["proof"]
        assert await trio.to_thread.run_sync(partial(run, ["prove", span, *there])) == 0
        printed = capsys.readouterr()
        assert printed.out == said["proof"]
        assert ("void [feed.forked]: Behind the place" in printed.err) is (reason is not None)
        assert await trio.to_thread.run_sync(partial(run, ["prove", span, "--json", *there])) == 0
        assert json.loads(capsys.readouterr().out)["void"] == reason
    assert code_of(await case.http.get(path, params={"void": "yes"})) == "filter.invalid"
