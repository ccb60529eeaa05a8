"""Rules on trial: a back-test says what the same rules then do in force."""

import gzip
import json
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lognode.core.codec import decode_value, encode
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.ids import b32encode
from lognode.core.limits import GROUP_SPANS_MAX
from lognode.core.span import SIMULATED, decode_body, decode_header
from lognode.engine.receipt import AppendStopped
from tests.engine.nodes import Engine, all_records, run_engine
from tests.ruling.published import find, publish, settle
from tests.ruling.trials import try_rules

WEB_REQUESTS = Path(__file__).parent.parent / "data" / "web-requests.ndjson.gz"
MINUTES, DAY = 300, 86_400
# The clients of the recording make few errors: besides the limit that one would set, some that are reached.
LIMITS = {"many": (20, MINUTES), "some": (2, MINUTES), "daily": (20, DAY)}
ERRORS = """
rules: web-errors
do:
  - id: error
    on: commit
    kinds: [http.request]
    if: {greater_than: {data.status: 399}}
    then: [{emit: {kind: http.error, data: {client: "{data.client}", occurred_at: "{data.occurred_at}"}}}]
""" + "".join(
    f"""
  - id: {name}
    on: commit
    kinds: [http.error]
    windows: {{errors: {{over: {over}s, by: data.client, at: data.occurred_at}}}}
    if: {{greater_than: {{windows.errors: {limit}}}}}
    then:
      - emit: {{kind: http.alarm, data: {{client: "{{data.client}}", rule: {name}, at: "{{data.occurred_at}}"}}}}
"""
    for name, (limit, over) in LIMITS.items()
)
Alarms = Counter[tuple[str, str, str]]


def recording() -> list[dict[str, Any]]:
    """The requests of the clients that ever made an error; what others sent is looked at for nothing."""
    with gzip.open(WEB_REQUESTS) as lines:
        requests = [json.loads(line) for line in lines]
    clients = {said["data"]["client"] for said in requests if said["data"]["status"] >= 400}
    return [said for said in requests if said["data"]["client"] in clients]


def expected(requests: list[dict[str, Any]]) -> Alarms:
    """Rule, client and time of each alarm, by a look at all errors."""
    found: Alarms = Counter()
    errors: defaultdict[str, list[float]] = defaultdict(list)
    for said in (request["data"] for request in requests):
        if said["status"] >= 400:
            at = datetime.fromisoformat(said["occurred_at"]).timestamp()
            errors[said["client"]].append(at)
            for name, (limit, over) in LIMITS.items():
                if sum(at - over < other <= at for other in errors[said["client"]]) > limit:
                    found[name, said["client"], said["occurred_at"]] += 1
    return found


async def append_all(engine: Engine, drafts: list[Draft]) -> None:
    for start in range(0, len(drafts), GROUP_SPANS_MAX):
        await engine.writer.append(engine.tenant, drafts[start : start + GROUP_SPANS_MAX])


async def test_a_rule_fires_for_the_clients_with_many_errors_as_a_trial_said_before(tmp_path: Path) -> None:
    requests = recording()
    drafts = [parse_json_draft(json.dumps(request).encode())[0] for request in requests]
    wanted = expected(requests)
    by_rule = Counter(rule for rule, _, _ in wanted.elements())
    assert {rule for rule in LIMITS if by_rule[rule]} == {"some", "daily"}
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    async with run_engine(tmp_path / "before") as engine:
        await append_all(engine, drafts)
        report, outcomes = await try_rules(engine, ERRORS)
        ids = await find(engine, lambda one: decode_header(one.header).kind == "http.request")
        is_error = [request["data"]["status"] >= 400 for request in requests]
        assert [outcome.span for outcome in outcomes] == [
            b32encode(span) for span, is_one in zip(ids, is_error, strict=True) if is_one
        ]
    assert {one.rule: one.fired for one in report.rules} == {
        "error": sum(is_error),
        **{name: by_rule[name] for name in LIMITS},
    }
    predicted = Counter(
        (rule, request["data"]["client"], request["data"]["occurred_at"])
        for outcome, request in zip(outcomes, (one for one in requests if one["data"]["status"] >= 400), strict=True)
        for rule in outcome.fired
        if rule != "error"
    )
    assert predicted == wanted
    assert report.emits == {"http.alarm": by_rule.total(), "http.error": report.rules[0].fired}

    async with run_engine(tmp_path / "after") as engine:
        await publish(engine, ERRORS)
        await append_all(engine, drafts)
        await settle(engine)
        live: Alarms = Counter()
        for record in await engine.store.read(all_records):
            if decode_header(record.header).kind == "http.alarm" and record.body is not None:
                said: Any = decode_value(decode_body(record.body).data)
                live[said["rule"], said["client"], said["at"]] += 1
        assert live == wanted
        again, _ = await try_rules(engine, ERRORS, published=ERRORS)
        assert (again.emits, again.rules[0].fired, again.changes) == (report.emits, sum(is_error), [])


GATE = """
rules: spending
do:
  - id: shut
    on: draft
    kinds: [payment]
    last: {account: {subject: subject, kinds: [account]}}
    if: {equals: {last.account.data.state: shut}}
    then: [{reject: "the account is shut"}]
  - id: limit
    on: draft
    kinds: [payment]
    windows: {spent: {over: 1h, by: subject, sum: data.amount}}
    if: {greater_than: {windows.spent: 100}}
    then: [{reject: "too much"}]
  - id: large
    on: draft
    kinds: [payment]
    if: {greater_than: {data.amount: LARGE}}
    then: [{simulate: "tried first"}, {add_tag: large}]
  - id: tell
    on: commit
    kinds: [payment]
    windows: {payments: {over: 1h, by: subject}}
    if: {equals: {windows.payments: 3}}
    then: [{emit: {kind: regular, title: "{subject} pays often"}}]
"""


def payments(seed: int) -> list[Draft]:
    rng = Random(seed)
    found = []
    for _ in range(120):
        who = rng.choice(["ann", "bob", "eve"])
        if rng.random() < 0.2:
            said = {"state": rng.choice(["open", "open", "shut"])}
            found.append(Draft(kind="account", subject=who, data=encode(said)))
        else:
            amount = rng.choice([1, 5, 20, 45])
            found.append(Draft(kind="payment", subject=who, data=encode({"amount": amount})))
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_a_trial_says_of_each_draft_what_the_gate_then_does(tmp_path: Path, seed: int) -> None:
    drafts, rules = payments(seed), GATE.replace("LARGE", "40")
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    async with run_engine(tmp_path / "before") as engine:
        receipts = await engine.writer.append(engine.tenant, drafts)
        report, outcomes = await try_rules(engine, rules)
        size = engine.heads.position(engine.tenant.number)
        changed, _ = await try_rules(engine, rules, published=GATE.replace("LARGE", "19"))
        assert engine.heads.position(engine.tenant.number) == size  # nothing was written
    said = {outcome.span: outcome for outcome in outcomes}
    async with run_engine(tmp_path / "after") as engine:
        await publish(engine, rules)
        verdicts = []
        for draft in drafts:
            with suppress(AppendStopped):
                (receipt,) = await engine.writer.append(engine.tenant, [draft])
                simulated = await find(engine, lambda one: decode_header(one.header).status == SIMULATED)
                verdicts.append("simulate" if receipt.id in simulated else "allow")
                continue
            verdicts.append("reject")
        await settle(engine)
        regular = await find(engine, lambda one: decode_header(one.header).kind == "regular")
    foreseen = [said.get(b32encode(one.id)) for one in receipts]
    assert [one.verdict if one else "allow" for one in foreseen] == verdicts
    assert len(set(verdicts)) == 3
    judged = [verdict for verdict, draft in zip(verdicts, drafts, strict=True) if draft.kind == "payment"]
    assert report.verdicts == Counter(judged)
    assert report.emits.get("regular", 0) == len(regular) > 0
    assert {one.change for one in changed.changes} >= {"verdict: simulate -> allow", "large: fires no more"}
