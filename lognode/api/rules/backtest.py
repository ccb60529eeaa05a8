"""POST .../backtest: a rule set tried on what is stored, told line by line as it goes; nothing is written."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec
import trio
from msgspec import UNSET, UnsetType
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA
from lognode.api.spans.append import NDJSON_MEDIA
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import BUSY_RETRY_S, RULE_SET_BYTES_MAX, TRIALS_MAX
from lognode.engine.ruling.hindsight.tally import Outcome
from lognode.engine.service.ruling.hindsight.backtest import Backtest, Progress, Report, Scope, Tried, others
from lognode.engine.service.ruling.publishing import Publishing
from lognode.rules.grammar.reading import read_rule_set
from lognode.timeline.query import parse_query

YAML_MEDIA: Final = "application/yaml"
_PARAMETERS: Final = ("since", "until", "kind")
_encode = msgspec.json.Encoder().encode


class BacktestLine(msgspec.Struct, frozen=True):
    """A line of the answer: how many of how many spans were looked at, what became of one, or at the end the report."""

    done: int | UnsetType = UNSET
    total: int | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    report: Report | UnsetType = UNSET


def register(app: ApiApp) -> None:
    """Add the route of back-tests."""
    text = {"type": "string", "description": "A rule set; docs/rules.md."}
    query = [
        Parameter("since", "Judge spans not before this time: RFC 3339, or Unix milliseconds"),
        Parameter("until", "Judge spans before this time: RFC 3339, or Unix milliseconds"),
        Parameter("kind", "Judge spans of this kind, or all below one as in order.*", is_repeatable=True),
        Parameter("alone", "true: judge by this set alone, without the others that are in force", bool),
        Parameter("outcomes", "true: also a line for each span for which a rule fired or failed", bool),
    ]
    docs = Docs(query=query, body={YAML_MEDIA: text, JSON_MEDIA: text}, answers={200: {NDJSON_MEDIA: BacktestLine}})
    app.register_route(
        "/v1/tenants/<tenant>/backtest", backtest_rules, methods=("POST",), action=Action.RULE_CHANGE, docs=docs
    )


async def backtest_rules() -> Response:
    """Try a rule set on what is stored: what it would have done, in force from the beginning beside all others.

    The others are the rule sets in force, as they are now; with `alone` there are none. Two trials run at once. The
    answer is NDJSON: lines that say how far it is, and at the end the report, with what differs from the version of
    this name in force. Spans outside of `since`, `until` and `kind` are not judged and count as the past of the
    others. An answer that breaks off is none. Nothing is written.
    """
    caller = current()
    scope, is_alone, has_outcomes = _scope()
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media not in {YAML_MEDIA, JSON_MEDIA}:
        raise CallerError("media.unsupported", f"a rule set comes as {YAML_MEDIA} or {JSON_MEDIA}")
    text = await request.body.read(2 * RULE_SET_BYTES_MAX)  # type: ignore[attr-defined]
    candidate = await trio.to_thread.run_sync(partial(read_rule_set, text, is_json=media == JSON_MEDIA))
    services = caller.services
    publishing = Publishing(services.store, services.writer, services.world, services.node_public)
    sets = (await publishing.now(caller.tenant)).sets
    tried = Tried(candidate, sets.get(candidate.name), () if is_alone else others(sets, candidate.name))
    members = services.writer.programs.members(caller.tenant)
    run = Backtest(caller.tenant, services.store.feeds, members, services.world, tried, scope)
    if len(services.trials) >= TRIALS_MAX:
        run.close()
        raise NodeFault("rule.trials_busy", f"{TRIALS_MAX} run", retry_after_s=BUSY_RETRY_S)
    services.trials.add(run)
    return TrioResponse(_lines(caller, run, has_outcomes=has_outcomes), content_type=NDJSON_MEDIA)


async def _lines(caller: Caller, run: Backtest, *, has_outcomes: bool) -> AsyncIterator[bytes]:
    services = caller.services
    try:
        progress = Progress(0, 1)
        while progress.done != progress.total and not services.stopping.is_set():
            progress, outcomes = await services.store.read(run.step)
            lines = [BacktestLine(outcome=outcome) for outcome in outcomes if has_outcomes]
            yield b"".join([_encode(line) + b"\n" for line in (*lines, BacktestLine(*progress))])
        if progress.done == progress.total:
            yield _encode(BacktestLine(report=run.report())) + b"\n"
    finally:
        run.close()
        services.trials.discard(run)


def _scope() -> tuple[Scope, bool, bool]:
    """Which spans are judged, whether by the set alone, and whether each is told of.

    Raises CallerError("filter.invalid").
    """
    given = dict(url_parameters())
    said = {name: list(given.pop(name, ["false"])) for name in ("alone", "outcomes")}
    for name, values in said.items():
        if values not in (["true"], ["false"]):
            raise CallerError("filter.invalid", "it is true or false", place=name)
    for name in given.keys() - set(_PARAMETERS):
        raise CallerError("filter.invalid", f"no parameter {name!r:.80} here", place=f"{name:.80}")
    query = parse_query(given).query
    return Scope(query.since_ms, query.until_ms, query.kinds), said["alone"] == ["true"], said["outcomes"] == ["true"]
