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
from lognode.core.limits import (
    APPROVAL_NOTE_BYTES_MAX,
    FIRED_BYTES_MAX,
    FIRED_RULES_MAX,
    HELD_JSON_BYTES_MAX,
    RULE_APPROVALS_MAX,
)
from lognode.core.span import EXECUTED, PRIVATE
from lognode.rules.conditions.trace import Trace

FIRED: Final = "rule.fired"
APPROVE: Final = "rule.approve"
DENY: Final = "rule.deny"
HASH_BYTES: Final = 16  # of a rule set's hash, by which a firing names the version
_Hash = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * HASH_BYTES}}}$")]
_Span = Annotated[str, msgspec.Meta(pattern="^[0-9a-hjkmnp-tv-z]{39}$")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class FiredRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule that did something, or failed.

    `effects` are what it did, in words of the document; `inputs` the values that its condition read, by path; `error`
    why it failed. `grounds` are the conditions that decided, where no span came of the draft that could be judged anew.
    """

    set: str
    rule: str
    outcome: Literal["fired", "failed"]
    effects: tuple[Any, ...] = ()
    inputs: Mapping[str, Any] = {}
    error: str = ""
    grounds: tuple[Trace, ...] = ()


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A draft that a rule has wait until `of` nodes with the role have approved it, before the Unix time `until_ms`.

    `draft` is its JSON, in which nothing is left out; `signed` the SHA-256 of what its actor signs of it.
    """

    set: str
    rule: str
    role: str
    of: _Count
    until_ms: _Count
    text: str
    draft: str
    signed: _Digest


# What became of a draft that waited. `rejected`: enough had approved, and by then rules rejected it.
Outcome = Literal["written", "denied", "expired", "rejected"]


class Fired(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The data of `rule.fired`.

    `sets` has the version of each set whose rules stand here. `count` firings are told by this one span, of which it
    shows the last. `cut` says that values were left out, since they took too much room. The span that was judged is the
    cause of the one that tells of it; no span came of a draft that was refused.
    `held` is the draft that waits for approval, where one does. What became of it tells another firing, which this one
    causes, by `outcome`: `by` are the approvals or the denial that made it, `span` is the span that was written.
    """

    sets: Mapping[str, _Hash]
    on: Literal["draft", "commit"]
    verdict: Literal["allow", "simulate", "hold", "reject"]
    rules: tuple[FiredRule, ...]
    count: _Count = 1
    cut: bool = False
    held: Held | None = None
    outcome: Outcome | None = None
    by: tuple[_Span, ...] = ()
    span: _Span | None = None


def short_hash(digest: bytes) -> str:
    """The text by which a firing names the version of a rule set."""
    return digest[:HASH_BYTES].hex()


def fired_data(fired: Fired) -> bytes:
    """The data of a firing.

    Where it is too large, inputs and grounds are left out, then effects, then rules from the last on.
    """
    rules = fired.rules[:FIRED_RULES_MAX]
    if len(rules) == len(fired.rules) and len(data := _encoded(fired)) <= FIRED_BYTES_MAX:
        return data
    bare = tuple(msgspec.structs.replace(rule, inputs={}, grounds=()) for rule in rules)
    named = tuple(msgspec.structs.replace(rule, effects=(), error=rule.error[:200]) for rule in bare)
    for shown in (rules, bare, named) if len(rules) < len(fired.rules) else (bare, named):
        data = _encoded(msgspec.structs.replace(fired, rules=shown, cut=True))
        if len(data) <= FIRED_BYTES_MAX:
            return data
    while named:
        named = named[: len(named) // 2]
        data = _encoded(msgspec.structs.replace(fired, rules=named, cut=True))
        if len(data) <= FIRED_BYTES_MAX:
            return data
    sets = {rule.set: fired.sets[rule.set] for rule in rules[:1] if rule.set in fired.sets}
    assert fired.held is None or len(fired.held.draft) <= HELD_JSON_BYTES_MAX
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
    if len(fired.by) > RULE_APPROVALS_MAX:
        raise CallerError("body.malformed", f"{FIRED}: by {len(fired.by)} spans, at most {RULE_APPROVALS_MAX}")
    if len(fired.rules) > FIRED_RULES_MAX:
        raise CallerError("body.malformed", f"{FIRED}: {len(fired.rules)} rules, at most {FIRED_RULES_MAX}")
    return fired


def is_firing(kind: str, actor: object, status: int, visibility: int) -> bool:
    """Whether a span speaks for its node of what rules did: no person's, no trial, and shared with members."""
    return kind == FIRED and actor is None and status == EXECUTED and visibility != PRIVATE


def answer_data(note: str) -> bytes:
    """The data of an approval or a denial. Raises CallerError("draft.invalid") for a note that is too long."""
    size = len(note.encode(errors="replace"))
    if size > APPROVAL_NOTE_BYTES_MAX:
        raise CallerError("draft.invalid", f"{size} bytes, at most {APPROVAL_NOTE_BYTES_MAX}", place="note")
    return encode({"note": note} if note else {})


def note_of(data: bytes) -> str:
    """The note that goes with an approval or a denial; "" where there is none, or what stands there is none."""
    if len(data) > 2 * APPROVAL_NOTE_BYTES_MAX:
        return ""
    try:
        said = decode_value(data)
    except CallerError:
        return ""
    note = said.get("note") if isinstance(said, dict) else None
    return note if isinstance(note, str) else ""


def _encoded(fired: Fired) -> bytes:
    return encode(msgspec.to_builtins(fired))
