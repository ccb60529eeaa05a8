""".../decision: what rules decided about a span and why, whether they had to, and why a rule did not fire."""

from typing import Any, Final

import msgspec
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, node_name, refuse_parameters
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode, parse_span_id
from lognode.engine.ruling.hindsight.comparing import Deviation
from lognode.engine.service.ruling.hindsight.rechecking import Decided, Rechecked, Rechecking
from lognode.rules.evaluation.explain import Account

DECISION: Final = "/v1/tenants/<tenant>/spans/<span_id>/decision"
_encode = msgspec.json.Encoder(order="sorted").encode


class GroundJson(msgspec.Struct, frozen=True):
    """A condition that decided: what it came to, null where it could not be told, and the values that it read."""

    condition: str
    result: bool | None
    values: dict[str, Any]
    error: str


class AccountJson(msgspec.Struct, frozen=True):
    """Why something became of a rule, in a sentence and by the conditions that decided.

    `outcome` is fired, not, failed, skipped (a rule that it depends on did not fire) or unseen (it was not judged).
    """

    set: str
    rule: str
    outcome: str
    sentence: str
    grounds: list[GroundJson]


class DecidedJson(msgspec.Struct, frozen=True):
    """An account of a rule that did something or failed; `on` is draft for gate rules and commit for reactions."""

    on: str
    account: AccountJson


class AlteredJson(msgspec.Struct, frozen=True):
    """What a node said otherwise than it had to."""

    node: str
    differences: list[Deviation]


class RecheckJson(msgspec.Struct, frozen=True):
    """Whether what was decided is what had to be: same, altered, or withheld where that cannot be told.

    `lacks` says why it cannot be told.
    """

    answer: str
    altered: list[AlteredJson]
    lacks: list[str]


class DecisionJson(msgspec.Struct, frozen=True):
    """What rules decide about a span by all that its node had named.

    `verdict` is the gate's, null where no gate rule judged it. `sets` are the rule sets that were in force, by their
    versions. `lacks` says what is not held here that may have decided otherwise. `recheck` is null unless it was asked
    for.
    """

    span: str
    verdict: str | None
    sets: dict[str, str]
    rules: list[DecidedJson]
    lacks: list[str]
    recheck: RecheckJson | None


def register(app: ApiApp) -> None:
    """Add the routes about decisions."""
    again = Parameter("recheck", "true: also compare with what nodes say that they decided", bool)
    docs = Docs(query=[again], answers={200: {JSON_MEDIA: DecisionJson}})
    app.register_route(DECISION, show_decision, action=Action.RULE_READ, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: AccountJson}})
    app.register_route(f"{DECISION}/<rule_set>/<rule>", explain_rule, action=Action.RULE_READ, docs=docs)


async def show_decision(span_id: str) -> Response:
    """Show what rules decide about a span, and by which conditions; computed anew from what its node had named.

    With `recheck=true` also whether the notes on the span, the firings and what rules emitted are what they had to be,
    and which node wrote what is not.
    """
    caller, span, is_again = current(), parse_span_id(span_id), _is_again()
    rechecking = _rechecking(caller)
    store = caller.services.store
    decided = await store.read(rechecking.decided, caller.tenant, span)
    again = await store.read(rechecking.recheck, caller.tenant, span) if is_again else None
    return TrioResponse(_encode(decision_json(decided, again)), content_type=JSON_MEDIA)


async def explain_rule(span_id: str, rule_set: str, rule: str) -> Response:
    """Say why a rule did not fire for a span: the first condition that did not hold; if it did fire, why it did."""
    caller, span = current(), parse_span_id(span_id)
    refuse_parameters()
    account = await caller.services.store.read(_rechecking(caller).why_not, caller.tenant, span, rule_set, rule)
    return json_answer(account_json(account))


def account_json(account: Account) -> AccountJson:
    """An account as the API shows it."""
    grounds = [GroundJson(one.condition, one.result, dict(one.values), one.error) for one in account.grounds]
    return AccountJson(account.set, account.rule, account.outcome, account.sentence, grounds)


def decision_json(decided: Decided, again: Rechecked | None) -> DecisionJson:
    """A decision as the API shows it."""
    return DecisionJson(
        span=b32encode(decided.span),
        verdict=decided.verdict,
        sets={name: version.hex() for name, version in sorted(decided.sets.items())},
        rules=[DecidedJson(on, account_json(account)) for on, account in decided.accounts],
        lacks=list(decided.lacks),
        recheck=_recheck_json(again) if again is not None else None,
    )


def _recheck_json(again: Rechecked) -> RecheckJson:
    altered = [AlteredJson(node_name(key), differences) for key, differences in sorted(again.altered.items())]
    return RecheckJson(again.answer, altered, list(again.lacks))


def _rechecking(caller: Caller) -> Rechecking:
    return Rechecking(caller.services.store, caller.services.writer.programs)


def _is_again() -> bool:
    """Whether a recheck is asked for. Raises CallerError("filter.invalid")."""
    given = dict(url_parameters())
    said = given.pop("recheck", ["false"])
    for name in given:
        raise CallerError("filter.invalid", f"no parameter {name!r:.80} here", place=f"{name:.80}")
    if list(said) not in (["true"], ["false"]):
        raise CallerError("filter.invalid", "it is true or false", place="recheck")
    return list(said) == ["true"]
