"""Merges, which nodes write by themselves, are left out of lists, tails and bundles where somebody asks."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio

from lognode.api.services import Services
from lognode.cli.main import run
from lognode.client.aio.client import AsyncClient
from lognode.client.filter import Filter
from lognode.client.place import Address
from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.identity.keys import NodeKeys
from tests.api.serving import code_of, http_client, serve
from tests.timeline.pens import Pen, admitted

BOB = NodeKeys.from_seed(b"b" * 32)
SPANS = "/v1/tenants/default/spans"


async def test_merges_are_left_out_of_lists_tails_and_bundles_where_asked(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant, keys = services.store.tenants["default"], services.desk.ground.keys
    receipt = await services.writer.append_control(
        tenant, "member.admit", lambda _, after: admitted(BOB, keys, tenant.tenant_id, after, Level.TRUSTED)
    )
    bob = Pen(BOB, tenant.tenant_id, [receipt.id])
    token = tmp_path / "token"
    token.write_bytes(services.admin_token)
    token.chmod(0o600)
    async with serve(services) as url, http_client(services, url) as http:
        async with AsyncClient(Address(url=url, token_file=token)) as client:
            start = await client.newest_cursor()
            for number in range(3):
                bob.write("order.placed")
                assert await services.writer.ingest(tenant, [bob.range()]) == [number + 2]
                assert await services.writer.merge(tenant)
            await services.writer.append(tenant, [Draft("order.paid")])
            wanted = Filter(merges=False)
            listed = [span["kind"] async for span in client.spans(wanted)]
            async with client.tail(wanted, after=start) as tail:
                told = [(await anext(tail)).span["kind"] for _ in range(5)]
        every = [span["kind"] for span in (await http.get(SPANS, params={"merges": "true"})).json()["spans"]]
        assert every.count("timeline.merge") == 3
        assert sorted(listed) == sorted(kind for kind in every if kind != "timeline.merge")
        assert told == ["feed.open", "order.placed", "order.placed", "order.placed", "order.paid"]
        assert code_of(await http.get(SPANS, params={"merges": "no"})) == "filter.invalid"
        there = ["--no-merges", "--url", url, "--token-file", str(token)]
        for command in (["log", "--json"], ["tail", "-n", "9", "--json"]):
            assert await trio.to_thread.run_sync(partial(run, [*command, *there])) == 0, command
            kinds = [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]
            assert kinds
            assert "timeline.merge" not in kinds
            assert kinds.count("order.placed") == 3
        bundle = tmp_path / "bundle"
        assert await trio.to_thread.run_sync(partial(run, ["bundle", "create", "-o", str(bundle), *there])) == 0
        assert b"timeline.merge" not in bundle.read_bytes()
