"""A rule set and its rules: from the document's nodes to their values.

Invariant: what is wrong with one rule hides nothing of what is wrong with another.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from lognode.core.limits import (
    RULE_ACTIONS_MAX,
    RULE_DEPENDENCIES_MAX,
    RULE_PRIORITY_MAX,
    RULE_VARIABLES_MAX,
    RULES_MAX,
    TEXT_BYTES_MAX,
)
from lognode.rules.document import (
    Action,
    Always,
    Condition,
    GateAction,
    Rule,
    Scalar,
)
from lognode.rules.grammar.faults import Faults, Place, shortened
from lognode.rules.grammar.shapes.actions import read_action
from lognode.rules.grammar.shapes.conditions import read_condition
from lognode.rules.grammar.shapes.fields import Fields, read_key, read_name, wrong_type
from lognode.rules.grammar.shapes.scope import Scope
from lognode.rules.grammar.shapes.windows import declared_names, read_kinds, read_last, read_windows
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Unread

SET_FIELDS: Final = ("rules", "description", "variables", "do")
RULE_FIELDS: Final = (
    "id", "description", "on", "run", "kinds", "priority", "depends_on", "windows", "last", "if", "when", "then",
)  # fmt: skip
PHASES: Final = ("draft", "commit")
RUNS: Final = ("author", "each")
_ONE: Final = "one"  # under a lease, of which there are none yet


class Found(NamedTuple):
    """A rule as far as it was read, and where its parts stand. `rule` is None where a fault was found in it."""

    id: str | None
    place: Place
    fields: Fields
    gate: bool
    depends_on: tuple[str, ...]
    rule: Rule | None


class Draft(NamedTuple):
    """A rule set before its rules are looked at together."""

    name: str
    description: str
    variables: Mapping[str, Scalar]
    rules: tuple[Found, ...]


def read_set(root: Node, faults: Faults) -> Draft:
    """What a document says, as far as it could be read."""
    if not isinstance(root, MapNode):
        wrong_type(faults, root, "a rule set", "a map", "begin with 'rules: NAME'")
        return Draft("", "", {}, ())
    fields = Fields(root, "the rule set", SET_FIELDS, faults)
    name = fields.name("rules", fields.require("rules", "name the set: rules: NAME"))
    description = fields.text("description")
    variables = _variables(fields)
    names = declared_names(fields.get("variables"))
    rules = _rules(fields, names)
    return Draft(name or "", description, variables, rules)


def _variables(fields: Fields) -> Mapping[str, Scalar]:
    node = fields.map("variables")
    if node is None:
        return {}
    if len(node.entries) > RULE_VARIABLES_MAX:
        message = f"'variables' has at most {RULE_VARIABLES_MAX} names, not {len(node.entries)}"
        fields.faults.add("rule.out_of_bounds", node.place, message)
    found = dict[str, Scalar]()
    for key, value in node.entries:
        name = read_key(key, "a variable", fields.faults)
        if isinstance(value, MapNode | ListNode):
            wrong_type(fields.faults, value, f"variable {shortened(str(key.value))}", "a text, number or boolean")
        elif isinstance(value, Leaf):
            if isinstance(value.value, str) and len(value.value.encode()) > TEXT_BYTES_MAX:
                message = f"variable {shortened(str(key.value))} has at most {TEXT_BYTES_MAX} bytes"
                fields.faults.add("rule.out_of_bounds", value.place, message)
            found[name or ""] = value.value
    return found


def _rules(fields: Fields, variables: frozenset[str]) -> tuple[Found, ...]:
    node = fields.require("do", "write do: and below it the rules, each beginning with '- id:'")
    if node is None:
        return ()
    if not isinstance(node, ListNode):
        wrong_type(fields.faults, node, "'do'", "a list of rules", "begin each with '- id: NAME'")
        return ()
    if not 1 <= len(node.items) <= RULES_MAX:
        message = f"'do' has 1 to {RULES_MAX} rules, not {len(node.items)}"
        fields.faults.add("rule.out_of_bounds", node.place, message)
        return ()
    found = list[Found]()
    crons = set[str]()
    for item in node.items:
        if isinstance(item, MapNode):
            found.append(_rule(item, variables, crons, fields.faults))
        elif not isinstance(item, Unread):
            wrong_type(fields.faults, item, "a rule", "a map", "begin it with '- id: NAME'")
    return tuple(found)


def _rule(node: MapNode, variables: frozenset[str], crons: set[str], faults: Faults) -> Found:
    before = faults.count
    named = next((value for key, value in node.entries if key.value == "id"), None)
    shown = shortened(str(named.value)) if isinstance(named, Leaf) else "without an id"
    fields = Fields(node, f"rule {shown}", RULE_FIELDS, faults)
    rule_id = fields.name("id", fields.require("id", "name the rule: id: NAME"))
    fields.require("on", "write on: draft for a rule that gates, on: commit for one that reacts")
    phase = fields.choice("on", PHASES)
    gate = phase != "commit"
    run = _run(fields, gate=phase == "draft")
    kinds = read_kinds(fields)
    priority = fields.whole("priority", default=100, low=0, high=RULE_PRIORITY_MAX)
    depends_on = fields.many(
        "depends_on",
        lambda item: read_name(item, "a rule's id", faults),
        most=RULE_DEPENDENCIES_MAX,
        wanted="a rule's id",
    )
    names = {name: declared_names(fields.get(name)) for name in ("windows", "last")}
    scope = Scope(faults, {"vars": variables, **names}, crons)
    windows, last = read_windows(fields, kinds, scope), read_last(fields, scope)
    condition = _condition(fields, scope)
    actions = _actions(fields, scope, gate=gate if phase else None)
    description = fields.text("description")
    rule = None
    if faults.count == before and rule_id and condition is not None:
        rule = Rule(
            rule_id, gate, actions, condition, node.place.line, description, run, kinds, priority, depends_on, windows,
            last,
        )  # fmt: skip
    return Found(rule_id, node.place, fields, gate, depends_on, rule)


def _run(fields: Fields, *, gate: bool) -> Literal["author", "each"]:
    node = fields.get("run")
    if isinstance(node, Leaf) and node.value == _ONE:
        message = "'one' needs leases, which there are not yet"
        fields.faults.add("rule.run_unavailable", node.place, message, "write author, or each")
        return "author"
    run = fields.choice("run", RUNS, default="author")
    if gate:
        fields.misplaced("run", "has no place in a rule on: draft, which runs where the draft is written", "delete it")
    return "each" if run == "each" else "author"


def _condition(fields: Fields, scope: Scope) -> Condition | None:
    node = fields.get("if")
    condition: Condition | None = Always() if node is None and "if" not in fields else None
    if node is not None:
        condition = read_condition(node, scope)
    if "when" in fields:
        if "if" in fields:
            fields.misplaced("when", "stands beside 'if'", "put both into a list: if: {all: [..., {when: ...}]}")
        short = fields.get("when")
        condition = None if short is None else read_condition(MapNode(((_key(short), short),), short.place), scope)
    return condition


def _key(node: Node) -> Leaf:
    """The key of the long form, for the short one: when."""
    assert isinstance(node, Leaf | ListNode | MapNode)
    origin = node.origin if isinstance(node, Leaf) else None
    return Leaf("when", node.place, origin)  # type: ignore[arg-type]  # nobody asks where its characters stand


def _actions(fields: Fields, scope: Scope, *, gate: bool | None) -> tuple[Action, ...]:
    node = fields.require("then", "say what the rule does, such as then: [{reject: no}]")
    if node is None:
        return ()
    if not isinstance(node, ListNode):
        wrong_type(fields.faults, node, "'then'", "a list of actions", "begin each with '- '")
        return ()
    if not 1 <= len(node.items) <= RULE_ACTIONS_MAX:
        message = f"'then' has 1 to {RULE_ACTIONS_MAX} actions, not {len(node.items)}"
        fields.faults.add("rule.out_of_bounds", node.place, message)
        return ()
    actions = list[Action]()
    verdict: Place | None = None
    for item in node.items:
        action = read_action(item, scope, gate=gate)
        if isinstance(action, GateAction):
            if verdict is not None:
                message = f"a rule has one verdict, and there is one in line {verdict.line}"
                fields.faults.add("rule.misplaced_action", item.place, message, "make it a rule of its own")
            verdict = item.place
        if action is not None:
            actions.append(action)
    return tuple(actions)
