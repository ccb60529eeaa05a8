"""Each mistake that a rule document can have is told with its code, line, column, message and a way out."""

# ruff: noqa: E501 - a row of the table reads best in one line
from typing import Final, NamedTuple

import pytest

from lognode.core.limits import RULE_SET_BYTES_MAX
from lognode.rules.grammar.faults import Fault, RuleSetFaults
from lognode.rules.grammar.reading import read_rule_set

HEAD: Final = "rules: set\ndo:\n- id: a\n  on: draft\n"  # lines 1 to 4
REACTION: Final = "rules: set\ndo:\n- id: a\n  on: commit\n  kinds: [order.paid]\n"  # lines 1 to 5
THEN: Final = "  then: [{reject: no}]\n"


class Bad(NamedTuple):
    """A document with one mistake, and what is told of it. `place` is line:column."""

    text: str
    code: str
    place: str
    message: str
    suggestion: str = ""


def gate(lines: str, code: str, place: str, message: str, suggestion: str = "") -> Bad:
    """A gate rule with these lines from line 5 on, and a reject behind them."""
    return Bad(HEAD + lines + "\n" + THEN, code, place, message, suggestion)


def when(expression: str, place: str, message: str, suggestion: str = "") -> Bad:
    """A gate rule whose expression begins at 5:9."""
    return gate(f"  when: {expression}", "rule.bad_cel", place, message, suggestion)


def reacting(action: str, code: str, place: str, message: str, suggestion: str = "") -> Bad:
    """A reaction whose one action begins at 6:10."""
    return Bad(f"{REACTION}  then: [{action}]\n", code, place, message, suggestion)


DOCUMENTS: Final[dict[str, Bad]] = {
    # The text
    "nothing": Bad("", "rule.malformed", "1:1", "the text holds no rule set", "begin with 'rules: NAME'"),
    "a comment alone": Bad("# nothing\n", "rule.malformed", "1:1", "the text holds no rule set"),
    "a text": Bad("hello", "rule.wrong_type", "1:1", "a rule set is a map, not the text 'hello'"),
    "a list": Bad("- rules: a\n", "rule.wrong_type", "1:1", "a rule set is a map, not a list"),
    "a colon too many": Bad("rules: a: b\n", "rule.malformed", "1:9", "mapping values are not allowed here"),
    "a tab": Bad("rules: a\ndo:\n\t- id: a\n", "rule.malformed", "3:1", "found character '\\t'", "indent with spaces"),
    "an open bracket": Bad("rules: a\ndo: [{id: a}\nx: 1\n", "rule.malformed", "3:1", "expected ',' or ']'"),
    "an open quote": Bad('rules: "a\n', "rule.malformed", "1:10", "found unexpected end of stream", "a quote is not"),
    "a control character": Bad("rules: a\x00\n", "rule.malformed", "1:9", "special characters are not allowed"),
    "an unsure end of a line": Bad("rules: a\u2028b\n", "rule.malformed", "1:9", "ends a line for some readers", "write it as"),
    "half a character": Bad('rules: "\\ud800"\n' + HEAD[11:] + THEN, "rule.malformed", "1:8", "half a character"),
    "a second document": Bad(HEAD + THEN + "---\nx: 1\n", "rule.yaml_feature", "6:1", "a second document begins here"),
    "old YAML": Bad("%YAML 1.1\n---\n" + HEAD + THEN, "rule.yaml_feature", "2:1", "this is read as YAML 1.2"),
    "an anchor": gate("  description: &x y", "rule.yaml_feature", "5:16", "an anchor has no place here"),
    "an alias": gate("  description: *x", "rule.yaml_feature", "5:16", "an alias has no place here", "write the value out"),
    "a tag": gate("  description: !!str x", "rule.yaml_feature", "5:16", "a tag has no place here"),
    "a merge": gate("  <<: {priority: 5}", "rule.yaml_feature", "5:3", "a merge has no place here", "write the keys out"),
    "a key twice": gate("  on: draft", "rule.duplicate_key", "5:3", "'on' stands here again, after line 4"),
    "a number as key": gate("  5: x", "rule.wrong_type", "5:3", "a key is a text", "put it in quotes"),
    "a list as key": gate("  ? [a]\n  : x", "rule.wrong_type", "5:5", "a key is a text"),
    "too deep": gate("  if: " + "{not: " * 20 + "x" + "}" * 20, "rule.too_deep", "5:85", "nested more than 16 deep"),
    "too large": Bad("#" * (RULE_SET_BYTES_MAX + 1), "rule.too_large", "1:1", "65537 bytes, at most 65536", "split it"),
    "too many values": Bad("rules: a\nx: [" + "a," * 17_000 + "]", "rule.too_large", "2:32763", "more than 16384 keys"),
    "an octal number": gate("  priority: 012", "rule.wrong_type", "5:13", "012 is no number here"),
    "a huge number": gate("  priority: 99999999999999999999", "rule.wrong_type", "5:13", "does not fit 64 bits"),
    "infinity": gate("  priority: .inf", "rule.wrong_type", "5:13", ".inf is no number here"),
    # The set
    "no name": Bad(HEAD[11:] + THEN, "rule.missing_key", "1:1", "the rule set lacks 'rules'", "name the set: rules: NAME"),
    "no rules": Bad("rules: a\n", "rule.missing_key", "1:1", "the rule set lacks 'do'"),
    "an empty list": Bad("rules: a\ndo: []\n", "rule.out_of_bounds", "2:5", "'do' has 1 to 1000 rules, not 0"),
    "rules as a map": Bad("rules: a\ndo: {id: a}\n", "rule.wrong_type", "2:5", "'do' is a list of rules, not a map"),
    "a rule as text": Bad("rules: a\ndo: [x]\n", "rule.wrong_type", "2:6", "a rule is a map, not the text 'x'"),
    "a bad set name": Bad("rules: My Set\n" + HEAD[11:] + THEN, "rule.bad_name", "1:8", "not 'My Set'", "write my-set"),
    "a misspelt key": Bad("name: b\n" + HEAD + THEN, "rule.unknown_key", "1:1", "the rule set has no key 'name'"),
    "a bad variable": Bad("variables: {Limit: 1}\n" + HEAD + THEN, "rule.bad_name", "1:13", "a variable", "write limit"),
    "a variable of many": Bad("variables: {a: [1]}\n" + HEAD + THEN, "rule.wrong_type", "1:16", "not a list"),
    # Rules
    "no id": Bad("rules: a\ndo:\n- on: draft\n" + THEN, "rule.missing_key", "3:3", "rule without an id lacks 'id'"),
    "a bad id": Bad(HEAD.replace("id: a", "id: Too Many") + THEN, "rule.bad_name", "3:7", "'id' is", "write too-many"),
    "a misspelt field": gate("  priorty: 5", "rule.unknown_key", "5:3", "has no key 'priorty'", "did you mean 'priority'?"),
    "no phase": Bad("rules: a\ndo:\n- id: a\n" + THEN, "rule.missing_key", "3:3", "rule 'a' lacks 'on'", "write on: draft"),
    "a bad phase": Bad(HEAD.replace("draft", "drafts") + THEN, "rule.out_of_bounds", "4:7", "not 'drafts'", "'draft'?"),
    "no actions": Bad(HEAD, "rule.missing_key", "3:3", "rule 'a' lacks 'then'", "say what the rule does"),
    "actions as text": Bad(HEAD + "  then: reject\n", "rule.wrong_type", "5:9", "'then' is a list of actions"),
    "no action": Bad(HEAD + "  then: []\n", "rule.out_of_bounds", "5:9", "'then' has 1 to 16 actions, not 0"),
    "a high priority": gate("  priority: 1001", "rule.out_of_bounds", "5:13", "'priority' is from 0 to 1000, not 1001"),
    "a priority in words": gate("  priority: low", "rule.wrong_type", "5:13", "'priority' is a whole number from 0 to 1000"),
    "a broken priority": gate("  priority: 1.5", "rule.wrong_type", "5:13", "not the number 1.5"),
    "a bad kind": gate("  kinds: [Login.Failed]", "rule.bad_kind", "5:11", "'Login.Failed' is no kind", "write login.failed"),
    "a star": gate('  kinds: "*"', "rule.bad_kind", "5:10", "'*' is no kind", "leave 'kinds' out"),
    "a kind twice": gate("  kinds: [a, a]", "rule.duplicate_key", "5:14", "'kinds' names 'a' twice"),
    "kinds as a map": gate("  kinds: {a: b}", "rule.wrong_type", "5:10", "'kinds' is a kind or a list of them, not a map"),
    "a gate that runs somewhere": gate("  run: author", "rule.misplaced_key", "5:3", "'run' has no place in a rule on: draft"),
    "a lease": Bad(REACTION + "  run: one\n  then: [{note: x}]\n", "rule.run_unavailable", "6:8", "'one' needs leases"),
    "a bad run": Bad(REACTION + "  run: all\n  then: [{note: x}]\n", "rule.out_of_bounds", "6:8", "'run' is one of author, each"),
    "an unknown dependency": gate("  depends_on: b", "rule.unknown_dependency", "5:3", "there is no rule 'b' in this set"),
    "an id twice": Bad(HEAD + "  then: [{note: x}]\n- id: a\n  on: draft\n  then: [{note: y}]\n", "rule.duplicate_id", "6:3",
                       "a rule 'a' stands in line 3 already"),
    "a circle of one": gate("  depends_on: a", "rule.cycle", "5:3", "depends_on goes in a circle: a -> a"),
    "a circle of two": Bad(
        HEAD + "  depends_on: b\n  then: [{note: x}]\n- id: b\n  on: draft\n  depends_on: a\n  then: [{note: y}]\n",
        "rule.cycle", "5:3", "depends_on goes in a circle: a -> b -> a",
    ),
    "a rule that sets itself off": reacting("{emit: {kind: order.paid}}", "rule.cycle", "6:3", "that it emits"),
    "rules that set each other off": Bad(
        REACTION + "  then: [{emit: {kind: x}}]\n- id: b\n  on: commit\n  kinds: x\n  then: [{emit: {kind: order.paid}}]\n",
        "rule.cycle", "6:3", "rules set each other off without end: a -> b -> a",
    ),
    # Windows and last spans
    "a window without reach": gate("  windows: {w: {by: kind}}", "rule.missing_key", "5:16", "window 'w' lacks 'over'"),
    "a window without key": gate("  windows: {w: {over: 5m}}", "rule.missing_key", "5:16", "window 'w' lacks 'by'"),
    "a duration in words": gate("  windows: {w: {over: 5 min, by: kind}}", "rule.bad_duration", "5:23", "'5 min' is no"),
    "a bare number": gate("  windows: {w: {over: 5, by: kind}}", "rule.wrong_type", "5:23", "'over' is a duration", "5m for"),
    "a long window": gate("  windows: {w: {over: 32d, by: kind}}", "rule.out_of_bounds", "5:23", "from 1s to 4w3d"),
    "a window of the context": gate("  windows: {w: {over: 5m, by: role}}", "rule.bad_path", "5:31", "'role' cannot be read"),
    "two measures": gate("  windows: {w: {over: 5m, by: kind, sum: data.a, distinct: data.b}}", "rule.misplaced_key", "5:50",
                         "'distinct' stands beside 'sum'"),
    "a count of a path": gate("  windows: {w: {over: 5m, by: kind, count: data.a}}", "rule.wrong_type", "5:44", "'count' is true"),
    "a window named for no CEL": gate("  windows: {my-w: {over: 5m, by: kind}}", "rule.bad_name", "5:13", "not 'my-w'", "write my_w"),
    "a last span of nothing": gate("  last: {x: {kinds: a}}", "rule.missing_key", "5:13", "last span 'x' lacks 'subject'"),
    # Conditions
    "two conditions": gate("  if: {exists: data.a, missing: data.b}", "rule.misplaced_key", "5:7", "several keys", "'all'"),
    "no condition": gate("  if: {}", "rule.missing_key", "5:7", "a condition is missing", "write always: true"),
    "an empty if": gate("  if:", "rule.wrong_type", "5:3", "a condition is a map with one key"),
    "an expression as if": gate("  if: kind == 'a'", "rule.wrong_type", "5:7", "a condition is a map", 'write when: "..."'),
    "if and when": gate("  if: {exists: data.a}\n  when: has(data.a)", "rule.misplaced_key", "6:3", "'when' stands beside 'if'"),
    "an unknown condition": gate("  if: {equal: {kind: a}}", "rule.unknown_key", "5:8", "there is no condition 'equal'",
                                 "did you mean 'equals'?"),
    "all of none": gate("  if: {all: []}", "rule.out_of_bounds", "5:13", "'all' has 1 to 64 conditions, not 0"),
    "all of a map": gate("  if: {all: {exists: data.a}}", "rule.wrong_type", "5:13", "'all' is a list of conditions"),
    "equals with a list": gate("  if: {equals: [data.a, 1]}", "rule.wrong_type", "5:16", "'equals' is a map of paths to values"),
    "a bound in words": gate("  if: {greater_than: {data.a: many}}", "rule.wrong_type", "5:31", "is a number, or one reference"),
    "always no": gate("  if: {always: no}", "rule.wrong_type", "5:16", "'always' is true, not the text 'no'", "write false"),
    "always false": gate("  if: {always: false}", "rule.wrong_type", "5:16", "'always' is true", "not: {always: true}"),
    "an unknown fact": gate("  if: {exists: dta.client}", "rule.bad_path", "5:16", "there is no fact 'dta'", "'data'?"),
    "an index with a dot": gate("  if: {exists: data.list.0}", "rule.bad_path", "5:25", "'.0' is no segment", "write [0]"),
    "a key with a blank": gate("  if: {exists: data.a b}", "rule.bad_path", "5:22", "a path goes on"),
    "below a text": gate("  if: {exists: kind.x}", "rule.bad_path", "5:20", "'kind' is a single value", "write kind"),
    "an undeclared variable": gate("  if: {exists: vars.limit}", "rule.undeclared", "5:16", "vars.limit is read, but"),
    "an undeclared window": gate("  windows: {fails: {over: 5m, by: kind}}\n  if: {greater_than: {windows.fail: 1}}",
                                 "rule.undeclared", "6:23", "windows.fail is read", "did you mean 'fails'?"),
    "an undeclared last": gate('  if: {equals: {title: "{last.x.title}"}}', "rule.undeclared", "5:26", "last.x is read"),
    "windows without a name": gate("  if: {exists: windows}", "rule.bad_path", "5:16", "'windows' goes on with a name"),
    # Expressions
    "a broken expression": when("kind ==", "5:16", "CEL: Syntax error: mismatched input '<EOF>'"),
    "an unknown name": when('knd == "a"', "5:9", "CEL: undeclared reference to 'knd'", "did you mean 'kind'?"),
    "a wrong type": when("kind == 5", "5:14", "CEL: found no matching overload for '_==_' applied to '(string, int)'"),
    "no truth": when("size(kind)", "5:9", "CEL: comes to INT, not to true or false"),
    "in a block": when("|\n    true &&\n\n      knd == 'a'", "8:7", "CEL: undeclared reference to 'knd'"),
    "folded": when(">-\n    kind ==\n    'a' &&\n    knd", "8:5", "CEL: undeclared reference to 'knd'"),
    "over lines": when("kind == 'a'\n    && knd", "6:8", "CEL: undeclared reference to 'knd'"),
    "escaped": when('"kind == \\"\\u00e9\\" && knd"', "5:32", "CEL: undeclared reference to 'knd'"),
    "in single quotes": when("'kind == ''a'' && knd'", "5:27", "CEL: undeclared reference to 'knd'"),
    "a long expression": when(f"kind == '{'a' * 1024}'", "5:9", "at most 1024"),
    "a pattern of the span": when("kind.matches(data.p)", "5:9", "CEL: matches"),
    "an undeclared window in CEL": gate("  when: windows.fail > 1", "rule.undeclared", "5:9", "windows.fail is read"),
    "all windows": gate("  when: size(windows) > 1", "rule.undeclared", "5:14", "CEL: 'windows' is read without a name"),
    # Actions
    "an unknown action": Bad(HEAD + "  then: [{rejct: no}]\n", "rule.unknown_key", "5:11", "no action 'rejct'", "'reject'?"),
    "two actions in one": Bad(HEAD + "  then: [{reject: no, note: x}]\n", "rule.misplaced_key", "5:10", "one action has several"),
    "a bare action": Bad(HEAD + "  then: [mark_processed]\n", "rule.wrong_type", "5:10", "an action is a map", "mark_processed: true"),
    "a reaction in a gate": Bad(HEAD + "  then: [{emit: {kind: a}}]\n", "rule.misplaced_action", "5:11", "on: draft", "on: commit"),
    "a verdict in a reaction": reacting("{reject: no}", "rule.misplaced_action", "6:11", "'reject' has no place in a rule on: commit"),
    "two verdicts": Bad(HEAD + "  then: [{allow: a}, {reject: b}]\n", "rule.misplaced_action", "5:22", "a rule has one verdict"),
    "an empty reason": Bad(HEAD + "  then: [{reject: ''}]\n", "rule.out_of_bounds", "5:19", "'reject' has 1 to 4096 bytes"),
    "a lone brace": Bad(HEAD + '  then: [{reject: "a {title"}]\n', "rule.bad_template", "5:22", "a '{' without its '}'", "write {{"),
    "a closing brace": Bad(HEAD + '  then: [{reject: "a }"}]\n', "rule.bad_template", "5:22", "a '}' without its '{'", "write }}"),
    "a bad reference": Bad(HEAD + '  then: [{reject: "a {titel}"}]\n', "rule.bad_path", "5:23", "no fact 'titel'", "'title'?"),
    "an approval by nobody": Bad(HEAD + "  then: [{require_approval: {within: 1h, text: x}}]\n", "rule.missing_key", "5:29",
                                 "'require_approval' lacks 'role'"),
    "an approval by strangers": Bad(HEAD + "  then: [{require_approval: {role: boss, within: 1h, text: x}}]\n",
                                    "rule.out_of_bounds", "5:36", "'role' is one of root"),
    "an approval within a second": Bad(HEAD + "  then: [{require_approval: {role: root, within: 1s, text: x}}]\n",
                                       "rule.out_of_bounds", "5:50", "'within' is from 1m to 12w6d, not 1s"),
    "metadata as text": Bad(HEAD + "  then: [{set_metadata: x}]\n", "rule.wrong_type", "5:25", "'set_metadata' is a map"),
    "a span that nodes write": reacting("{emit: {kind: rule.fired}}", "rule.bad_kind", "6:24", "written by nodes alone"),
    "data as text": reacting("{emit: {kind: a, data: x}}", "rule.wrong_type", "6:33", "'data' is a map, or one reference"),
    "a bad target": reacting("{notify: {to: ops, text: x}}", "rule.out_of_bounds", "6:24", "'to' is journal or webhook NAME",
                             "write webhook ops"),
    "nothing due": reacting("{schedule: {name: x, notify: {to: journal, text: x}}}", "rule.missing_key", "6:21", "when it is due"),
    "due twice": reacting("{schedule: {name: x, after: 1h, cron: '* * * * *', notify: {to: journal, text: x}}}",
                          "rule.misplaced_key", "6:42", "'cron' stands beside 'after'"),
    "nothing to do": reacting("{schedule: {name: x, after: 1h}}", "rule.missing_key", "6:21", "does not say what is done"),
    "too few fields of cron": reacting("{schedule: {name: x, cron: '* * *', notify: {to: journal, text: x}}}", "rule.bad_cron",
                                       "6:37", "a cron expression has 5 fields, not 3"),
    "a bad hour": reacting("{schedule: {name: x, cron: '0 25 * * *', notify: {to: journal, text: x}}}", "rule.bad_cron", "6:37",
                           "cron: bad hour"),
    "a day that never comes": reacting("{schedule: {name: x, cron: '0 0 31 2 *', notify: {to: journal, text: x}}}",
                                       "rule.bad_cron", "6:37", "cron: bad day-of-month"),
    "a bad policy": reacting("{schedule: {name: x, after: 1h, missed: twice, notify: {to: journal, text: x}}}",
                             "rule.out_of_bounds", "6:50", "'missed' is one of skip, once, all"),
    # Rules that can never fire
    "drafts that nodes write": gate("  kinds: [rule.fired, timeline.*]", "rule.unreachable", "5:3", "nodes write these kinds"),
    "two values of one path": gate("  if: {all: [{equals: {data.a: 1}}, {equals: {data.a: 2}}]}", "rule.unreachable", "5:3",
                                   "the condition never holds"),
    "there and not there": gate("  if: {all: [{exists: data.a.b}, {missing: data.a}]}", "rule.unreachable", "5:3", "never holds"),
    "an empty range": gate("  if: {all: [{greater_than: {data.a: 5}}, {less_than: {data.a: 5}}]}", "rule.unreachable", "5:3",
                           "never holds"),
    "yes and no": gate("  if: {all: [{contains_tag: x}, {not: {contains_tag: x}}]}", "rule.unreachable", "5:3", "never holds"),
    "another kind": gate("  kinds: a\n  if: {equals: {kind: b}}", "rule.unreachable", "6:3", "the condition never holds"),
    "a status that is none": gate("  if: {equals: {status: done}}", "rule.unreachable", "5:3", "the condition never holds"),
    "never in CEL": gate("  when: 1 > 2", "rule.unreachable", "5:3", "the condition never holds"),
    "behind a wall": Bad(HEAD + THEN + "- id: b\n  on: draft\n  then: [{note: x}]\n", "rule.unreachable", "6:3",
                         "'a' rejects every draft of these kinds before", "priority below 100"),
    "after a rejection": Bad(HEAD + "  if: {exists: data.a}\n" + THEN + "- id: b\n  on: draft\n  depends_on: a\n  then: [{note: x}]\n",
                             "rule.unreachable", "9:3", "where 'a' fires, the draft is rejected"),
    "no kind in common": Bad(
        HEAD + "  kinds: a\n  then: [{note: x}]\n- id: b\n  on: draft\n  kinds: b.*\n  depends_on: a\n  then: [{note: x}]\n",
        "rule.unreachable", "10:3", "no kind is of both this rule and 'a'",
    ),
    "a gate before a reaction": Bad(HEAD + "  then: [{note: x}]\n- id: b\n  on: commit\n  depends_on: a\n  then: [{note: x}]\n",
                                    "rule.unreachable", "8:3", "'a' is a rule on: draft"),
}  # fmt: skip


def faults_of(text: bytes, *, is_json: bool = False) -> tuple[Fault, ...]:
    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(text, is_json=is_json)
    return caught.value.faults


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_mistake_is_told_where_it_is(name: str) -> None:
    bad = DOCUMENTS[name]

    (fault,) = faults_of(bad.text.encode())

    assert (fault.code, f"{fault.line}:{fault.column}") == (bad.code, bad.place)
    assert bad.message in fault.message
    assert bad.suggestion in fault.suggestion
