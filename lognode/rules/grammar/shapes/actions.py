"""Actions: from a map with one key to what a rule does.

Invariant: each name in ACTIONS is an action of the reference and of the schema; `GATE` and `REACTION` say where each
may stand.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from lognode.core.limits import (
    RULE_AFTER_MS_MAX,
    RULE_AFTER_MS_MIN,
    RULE_APPROVALS_MAX,
    RULE_CRON_CHARS_MAX,
    RULE_CRONS_MAX,
    RULE_PARTS_MAX,
    RULE_WITHIN_MS_MAX,
    RULE_WITHIN_MS_MIN,
    TAGS_MAX,
)
from lognode.core.span import VISIBILITIES, is_reserved
from lognode.rules.document import (
    Action,
    AddTag,
    Allow,
    Emit,
    MarkProcessed,
    Note,
    Notify,
    Reject,
    RequireApproval,
    Schedule,
    SetMetadata,
    Simulate,
    Text,
    Value,
)
from lognode.rules.grammar.faults import did_you_mean, shortened
from lognode.rules.grammar.shapes.cron import cron_fault
from lognode.rules.grammar.shapes.fields import Fields, read_kind, read_many, read_name, read_text, wrong_type
from lognode.rules.grammar.shapes.scope import Scope
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Unread

_Reader = Callable[[Node, Scope], Action | None]
APPROVAL_ROLES: Final = ("root",)  # of nodes; roles of people are not known yet, so nobody could have another
MISSED: Final = ("skip", "once", "all")
JOURNAL: Final = "journal"
_WEBHOOK: Final = "webhook "
APPROVAL_FIELDS: Final = ("role", "of", "within", "text")
EMIT_FIELDS: Final = (
    "kind", "title", "data", "tags", "subject", "contract_id", "workflow_id", "flow_id", "metadata", "visibility",
)  # fmt: skip
SCHEDULE_FIELDS: Final = ("name", "after", "at", "cron", "missed", "emit", "notify")
NOTIFY_FIELDS: Final = ("to", "text", "data")


class _Known(NamedTuple):
    """Where an action may stand, and how it is read."""

    gate: bool
    reaction: bool
    read: _Reader


def read_action(node: Node, scope: Scope, *, gate: bool | None) -> Action | None:
    """The action that a map with one key is; None where a fault was found.

    `gate` None is a rule of which it could not be told whether it gates or reacts.
    """
    if isinstance(node, Leaf) and node.value == "mark_processed":
        wrong_type(scope.faults, node, "an action", "a map with one key", "write mark_processed: true")
        return None
    if not isinstance(node, MapNode):
        wrong_type(scope.faults, node, "an action", "a map with one key, such as reject or emit")
        return None
    if len(node.entries) != 1:
        if node.entries:
            names = ", ".join(shortened(str(key.value)) for key, _ in node.entries[:4])
            advice = "begin each with '- ', and put what belongs to it below it"
            scope.faults.add("rule.misplaced_key", node.place, f"one action has several keys: {names}", advice)
        else:
            scope.faults.add("rule.missing_key", node.place, "an action is missing", did_you_mean("", ACTIONS))
        return None
    key, value = node.entries[0]
    name = str(key.value)
    known = ACTIONS.get(name)
    if known is None:
        message = f"there is no action {shortened(name)}"
        scope.faults.add("rule.unknown_key", key.place, message, scope.faults.near(name, ACTIONS))
        return None
    if gate is not None and not (known.gate if gate else known.reaction):
        where, other = ("draft", "commit") if gate else ("commit", "draft")
        message = f"{name!r} has no place in a rule on: {where}"
        scope.faults.add("rule.misplaced_action", key.place, message, f"put it into a rule on: {other}")
    return None if isinstance(value, Unread) else known.read(value, scope)


def _said(what: str, made: Callable[[Text], Action]) -> _Reader:
    """An action that is no more than a text."""

    def read(node: Node, scope: Scope) -> Action | None:
        text = scope.text(node, what)
        return None if text is None else made(text)

    return read


def _require_approval(node: Node, scope: Scope) -> Action | None:
    fields = _fields(node, "require_approval", APPROVAL_FIELDS, scope, "role, of, within and text")
    if fields is None:
        return None
    fields.require("role", "name who may approve: " + ", ".join(APPROVAL_ROLES))
    role = fields.choice("role", APPROVAL_ROLES)
    count = fields.whole("of", default=1, low=1, high=RULE_APPROVALS_MAX)
    given = fields.require("within", "say how long the draft waits, such as 24h")
    within_ms = fields.duration("within", given, low_ms=RULE_WITHIN_MS_MIN, high_ms=RULE_WITHIN_MS_MAX)
    said = fields.require("text", "say what is asked for")
    text = None if said is None else scope.text(said, "'text'")
    if role is None or within_ms is None or text is None:
        return None
    return RequireApproval(role, count, within_ms, text)


def _add_tag(node: Node, scope: Scope) -> Action | None:
    tags: tuple[Text, ...] = read_many(
        node, lambda item: scope.text(item, "a tag"), "'add_tag'", scope.faults, most=TAGS_MAX, wanted="a tag"
    )
    return AddTag(tags) if tags else None


def _set_metadata(node: Node, scope: Scope) -> Action | None:
    if not isinstance(node, MapNode):
        wrong_type(scope.faults, node, "'set_metadata'", "a map of keys to values")
        return None
    if not 1 <= len(node.entries) <= RULE_PARTS_MAX:
        message = f"'set_metadata' has 1 to {RULE_PARTS_MAX} keys, not {len(node.entries)}"
        scope.faults.add("rule.out_of_bounds", node.place, message)
        return None
    return SetMetadata(tuple((str(key.value), scope.value(value, "a value")) for key, value in node.entries))


def _mark_processed(node: Node, scope: Scope) -> Action | None:
    if isinstance(node, Leaf) and node.value is True:
        return MarkProcessed()
    wrong_type(scope.faults, node, "'mark_processed'", "true")
    return None


def _emit(node: Node, scope: Scope) -> Emit | None:
    fields = _fields(node, "emit", EMIT_FIELDS, scope, "kind, title, data and so on")
    if fields is None:
        return None
    named = fields.require("kind", "name the kind of the span, such as alert.raised")
    kind = None if named is None else read_kind(named, scope.faults, patterns=False)
    if kind and named and is_reserved(kind):
        message = f"spans of kind {shortened(kind)} are written by nodes alone"
        scope.faults.add("rule.bad_kind", named.place, message, "begin it with a word of your own")
    texts = {name: _text(fields, name, scope) for name in ("title", "subject", "contract_id", "workflow_id", "flow_id")}
    tags: tuple[Text, ...] = fields.many("tags", lambda item: scope.text(item, "a tag"), most=TAGS_MAX, wanted="a tag")
    data, metadata = _json_map(fields, "data", scope), _json_map(fields, "metadata", scope)
    visibility = fields.choice("visibility", VISIBILITIES)
    return None if kind is None else Emit(kind, data=data, metadata=metadata, tags=tags, visibility=visibility, **texts)


def _text(fields: Fields, name: str, scope: Scope) -> Text | None:
    node = fields.get(name)
    return None if node is None else scope.text(node, repr(name))


def _json_map(fields: Fields, name: str, scope: Scope) -> Value:
    """A map, or one reference to what may be one."""
    node = fields.get(name)
    if node is None:
        return None
    if isinstance(node, ListNode) or (isinstance(node, Leaf) and not str(node.value).startswith("{")):
        wrong_type(scope.faults, node, repr(name), 'a map, or one reference such as "{data}"')
        return None
    return scope.value(node, repr(name))


def _notify(node: Node, scope: Scope) -> Notify | None:
    fields = _fields(node, "notify", NOTIFY_FIELDS, scope, "to, text and data")
    if fields is None:
        return None
    named = fields.require("to", "write journal, or webhook NAME")
    webhook = None if named is None else _target(named, scope)
    said = fields.require("text", "say what is told")
    text = None if said is None else scope.text(said, "'text'")
    data = _json_map(fields, "data", scope)
    return None if text is None or webhook is None else Notify(webhook if webhook != JOURNAL else None, text, data)


def _target(node: Node, scope: Scope) -> str | None:
    """The name of a webhook, or JOURNAL, which no webhook is named here."""
    text = read_text(node, "'to'", scope.faults)
    if text is None or text == JOURNAL:
        return text
    if not text.startswith(_WEBHOOK):
        advice = did_you_mean(text, [JOURNAL]) if " " not in text else ""
        known = advice if advice.startswith("did") else f"write webhook {text}"
        scope.faults.add(
            "rule.out_of_bounds", node.place, f"'to' is journal or webhook NAME, not {shortened(text)}", known
        )
        return None
    assert isinstance(node, Leaf)
    name = read_name(node._replace(value=text.removeprefix(_WEBHOOK).strip()), "the name of a webhook", scope.faults)
    if name == JOURNAL:
        scope.faults.add("rule.bad_name", node.place, "no webhook is named journal", "write to: journal")
        return None
    return name


def _schedule(node: Node, scope: Scope) -> Schedule | None:
    fields = _fields(node, "schedule", SCHEDULE_FIELDS, scope, "name, after, at or cron, and emit or notify")
    if fields is None:
        return None
    named = fields.require("name", "name the schedule; the same name replaces what waits")
    name = None if named is None else scope.text(named, "'name'")
    _one_of(fields, ("after", "at", "cron"), "when it is due")
    after_ms = fields.duration("after", fields.get("after"), low_ms=RULE_AFTER_MS_MIN, high_ms=RULE_AFTER_MS_MAX)
    at = fields.get("at")
    path = None if at is None else scope.path(at, "'at'")
    cron = _cron(fields.get("cron"), scope)
    missed = fields.choice("missed", MISSED, default="once")
    _one_of(fields, ("emit", "notify"), "what is done")
    what: Emit | Notify | None = None
    for key, read in (("emit", _emit), ("notify", _notify)):
        inner = fields.get(key)
        what = read(inner, scope) if inner is not None else what
    if name is None or what is None or missed is None:
        return None
    return Schedule(name, what, after_ms, path, cron, missed)  # type: ignore[arg-type]  # one of MISSED


def _one_of(fields: Fields, names: tuple[str, ...], what: str) -> None:
    """Tell where not exactly one of these fields is there."""
    there = [name for name in names if name in fields]
    listed = " or ".join([", ".join(names[:-1]), names[-1]])
    if not there:
        fields.faults.add("rule.missing_key", fields.place, f"{fields.what} does not say {what}", f"write {listed}")
    for name in there[1:]:
        fields.misplaced(name, f"stands beside {there[0]!r}: one of them says {what}", "keep one of them")


def _cron(node: Node | None, scope: Scope) -> str | None:
    if node is None:
        return None
    text = read_text(node, "'cron'", scope.faults)
    if text is None:
        return None
    if len(text) > RULE_CRON_CHARS_MAX:
        scope.faults.add("rule.out_of_bounds", node.place, f"'cron' has at most {RULE_CRON_CHARS_MAX} characters")
        return None
    scope.crons.add(text)
    if len(scope.crons) > RULE_CRONS_MAX:
        message = f"a set has at most {RULE_CRONS_MAX} different cron expressions"
        scope.faults.add("rule.out_of_bounds", node.place, message)
        return None
    fault = cron_fault(text)
    if fault:
        scope.faults.add("rule.bad_cron", node.place, *fault)
        return None
    return text


def _fields(node: Node, name: str, known: tuple[str, ...], scope: Scope, wanted: str) -> Fields | None:
    if isinstance(node, MapNode):
        return Fields(node, repr(name), known, scope.faults)
    wrong_type(scope.faults, node, repr(name), f"a map with {wanted}")
    return None


ACTIONS: Final[Mapping[str, _Known]] = {
    "allow": _Known(gate=True, reaction=False, read=_said("'allow'", Allow)),
    "reject": _Known(gate=True, reaction=False, read=_said("'reject'", Reject)),
    "simulate": _Known(gate=True, reaction=False, read=_said("'simulate'", Simulate)),
    "require_approval": _Known(gate=True, reaction=False, read=_require_approval),
    "add_tag": _Known(gate=True, reaction=True, read=_add_tag),
    "set_metadata": _Known(gate=True, reaction=True, read=_set_metadata),
    "mark_processed": _Known(gate=True, reaction=True, read=_mark_processed),
    "note": _Known(gate=True, reaction=True, read=_said("'note'", Note)),
    "emit": _Known(gate=False, reaction=True, read=_emit),
    "schedule": _Known(gate=False, reaction=True, read=_schedule),
    "notify": _Known(gate=False, reaction=True, read=_notify),
}
