"""Firings: the spans by which a node tells what rules made of a draft or a span.

Owns the data of `rule.fired`: building, reading, bounds. The data of `rule.publish` and `rule.disable` is owned by
timeline.agreement.rules.publications, since tables follow from it. Knows neither how rules are evaluated nor what
follows.
Invariant: what is built is read back as it was, and is never larger than FIRED_BYTES_MAX.
Source: docs/protocol.md, Rule spans.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from lognode.core.codec import decode_value, encode
from lognode.core.errors import CallerError
from lognode.core.limits import FIRED_BYTES_MAX, FIRED_RULES_MAX
from lognode.core.span import EXECUTED, PRIVATE

FIRED: Final = "rule.fired"
HASH_BYTES: Final = 16  # of a rule set's hash, by which a firing names the version
_Hash = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * HASH_BYTES}}}$")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class FiredRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule that did something, or failed.

    `effects` are what it did, in words of the document; `inputs` the values that its condition read, by path; `error`
    why it failed.
    """

    set: str
    rule: str
    outcome: Literal["fired", "failed"]
    effects: tuple[Any, ...] = ()
    inputs: Mapping[str, Any] = {}
    error: str = ""


class Fired(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The data of `rule.fired`.

    `sets` has the version of each set whose rules stand here. `count` firings are told by this one span, of which it
    shows the last. `cut` says that values were left out, since they took too much room. The span that was judged is the
    cause of the one that tells of it; no span came of a draft that was refused.
    """

    sets: Mapping[str, _Hash]
    on: Literal["draft", "commit"]
    verdict: Literal["allow", "simulate", "hold", "reject"]
    rules: tuple[FiredRule, ...]
    count: _Count = 1
    cut: bool = False


def short_hash(digest: bytes) -> str:
    """The text by which a firing names the version of a rule set."""
    return digest[:HASH_BYTES].hex()


def fired_data(fired: Fired) -> bytes:
    """The data of a firing. Where it is too large, inputs are left out, then effects, then rules from the last on."""
    rules = fired.rules[:FIRED_RULES_MAX]
    bare = tuple(msgspec.structs.replace(rule, inputs={}) for rule in rules)
    named = tuple(msgspec.structs.replace(rule, effects=(), error=rule.error[:200]) for rule in bare)
    for shown in (rules, bare, named):
        is_cut = fired.cut or shown is not rules or len(rules) < len(fired.rules)
        data = _encoded(msgspec.structs.replace(fired, rules=shown, cut=is_cut))
        if len(data) <= FIRED_BYTES_MAX:
            return data
    while named:
        named = named[: len(named) // 2]
        data = _encoded(msgspec.structs.replace(fired, rules=named, cut=True))
        if len(data) <= FIRED_BYTES_MAX:
            return data
    sets = {rule.set: fired.sets[rule.set] for rule in rules[:1] if rule.set in fired.sets}
    return _encoded(msgspec.structs.replace(fired, sets=sets, rules=(), cut=True))


def parse_fired(data: bytes) -> Fired:
    """The parts of a firing. Raises CallerError("body.malformed")."""
    if len(data) > FIRED_BYTES_MAX:
        raise CallerError("body.malformed", f"{FIRED}: {len(data)} bytes, at most {FIRED_BYTES_MAX}")
    try:
        fired = msgspec.convert(decode_value(data), Fired)
    except (CallerError, msgspec.ValidationError) as error:
        detail = error.detail if isinstance(error, CallerError) else str(error)
        raise CallerError("body.malformed", f"{FIRED}: {detail}") from error
    if len(fired.rules) > FIRED_RULES_MAX:
        raise CallerError("body.malformed", f"{FIRED}: {len(fired.rules)} rules, at most {FIRED_RULES_MAX}")
    return fired


def is_firing(kind: str, actor: object, status: int, visibility: int) -> bool:
    """Whether a span speaks for its node of what rules did: no person's, no trial, and shared with members."""
    return kind == FIRED and actor is None and status == EXECUTED and visibility != PRIVATE


def _encoded(fired: Fired) -> bytes:
    return encode(msgspec.to_builtins(fired))
