"""More than 20 errors of one client in 5 minutes: alarms for those clients that a script without lognode finds."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from lognode.core.codec import decode_value
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.limits import GROUP_SPANS_MAX
from lognode.core.span import decode_body, decode_header
from lognode.timeline.record import TenantRef, feed_of
from tests.engine.nodes import Engine, all_records, run_engine
from tests.independent import web_alarms
from tests.ruling.published import publish, settle
from tests.ruling.trials import try_rules

RECORDING: Final = Path(__file__).parent.parent / "data" / "web-requests.ndjson.gz"
RULES: Final = """
rules: web-errors
do:
  - id: error
    on: commit
    kinds: [http.request]
    if: {greater_than: {data.status: 399}}
    then: [{emit: {kind: http.error, data: {client: "{data.client}", occurred_at: "{data.occurred_at}"}}}]
  - id: many
    on: commit
    kinds: [http.error]
    windows: {errors: {over: 5m, by: data.client, at: data.occurred_at}}
    if: {greater_than: {windows.errors: 20}}
    then: [{emit: {kind: http.alarm, data: {client: "{data.client}", at: "{data.occurred_at}"}}}]
"""
Alarms = Counter[tuple[str, str]]


async def append_all(engine: Engine, tenant: TenantRef, drafts: list[Draft]) -> None:
    for start in range(0, len(drafts), GROUP_SPANS_MAX):
        await engine.writer.append(tenant, drafts[start : start + GROUP_SPANS_MAX])


async def alarms_of(engine: Engine, tenant: TenantRef) -> Alarms:
    """The alarms that rules wrote."""
    found: Alarms = Counter()
    for record in await engine.store.read(all_records):
        is_ours = feed_of(record, engine.store.feeds).tenant == tenant.number
        if is_ours and record.body is not None and decode_header(record.header).kind == "http.alarm":
            said: Any = decode_value(decode_body(record.body).data)
            found[said["client"], said["at"]] += 1
    return found


async def test_a_dense_recording_has_alarms_for_just_the_clients_that_a_script_finds_as_a_trial_said(
    tmp_path: Path,
) -> None:
    requests = list(web_alarms.denser(web_alarms.read(RECORDING)))
    wanted = Counter(web_alarms.alarms(requests))
    by_client = Counter(client for client, _ in wanted.elements())
    assert len(requests) == 9999 + 3 * 220
    assert sorted(by_client.values()) == [1, 1, 16]
    drafts = [parse_json_draft(json.dumps(request).encode())[0] for request in requests]
    async with run_engine(tmp_path, tenants=("default", "ruled")) as engine:
        await append_all(engine, engine.tenant, drafts)
        report, outcomes = await try_rules(engine, RULES)
        errors = [request["data"] for request in requests if web_alarms.is_error(request)]
        assert len(outcomes) == len(errors)
        predicted = Counter(
            (said["client"], said["occurred_at"])
            for outcome, said in zip(outcomes, errors, strict=True)
            if "many" in outcome.fired
        )
        assert predicted == wanted
        assert report.emits == {"http.alarm": wanted.total(), "http.error": len(errors)}

        ruled = engine.store.tenants["ruled"]
        await publish(engine, RULES, ruled)
        await append_all(engine, ruled, drafts)
        await settle(engine, ruled)
        assert await alarms_of(engine, ruled) == wanted


def test_the_recording_as_it_is_has_no_such_client() -> None:
    assert web_alarms.alarms(web_alarms.read(RECORDING)) == []
