"""Why a draft was refused, or has to wait: as its node told, since no span came of it that could be judged anew.

Pure. Invariant: nothing is said that the firing does not hold.
"""

from lognode.core.errors import CallerError
from lognode.core.span import Body, Header
from lognode.rules.conditions.trace import Trace
from lognode.rules.evaluation.decision import Step
from lognode.rules.evaluation.explain import Account, account
from lognode.rules.records import Fired, FiredRule, is_firing, parse_fired


def refusal_in(header: Header, body: Body, visibility: int) -> Fired | None:
    """What a span tells of a draft that was refused, or has to wait; None where it tells of none."""
    if header.caused_by is not None or not is_firing(header.kind, header.actor, header.status, visibility):
        return None
    try:
        fired = parse_fired(body.data)
    except CallerError:
        return None
    return fired if fired.on == "draft" and fired.outcome is None else None


def accounts_of(fired: Fired) -> list[Account]:
    """Accounts of the rules that did something to the draft, or failed, in their order."""
    return [account(_step(rule)) for rule in fired.rules]


def why_not_told(fired: Fired, name: str, rule: str) -> Account:
    """Why a rule of the set `name` did not fire for the draft, as far as that is told; if it did, why it did."""
    for one in fired.rules:
        if (one.set, one.rule) == (name, rule):
            return account(_step(one))
    said = "was refused" if fired.held is None else "had to wait"
    sentence = f"Rule {rule} of {name} did nothing to this draft, which {said}: of such a draft only that is told here"
    return Account(name, rule, "unseen", f"{sentence} which decided.")


def _step(rule: FiredRule) -> Step:
    result = True if rule.outcome == "fired" else None
    trace = Trace("all", result, of=rule.grounds) if rule.grounds else None
    return Step(rule.set, rule.rule, rule.outcome, trace, rule.error)
