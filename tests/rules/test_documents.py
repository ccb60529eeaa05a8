"""What a rule document says, however it is written; and what no text can do to its reader."""

import json
import re
from io import StringIO
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lognode.core.errors import ERRORS
from lognode.core.limits import RULE_SET_BYTES_MAX, RULE_SET_FAULTS_MAX
from lognode.rules.document import (
    Cel,
    Not,
    Path,
    Reject,
    Rule,
    RuleSet,
    Template,
    condition_parts,
    matches_kind,
    value_paths,
)
from lognode.rules.grammar.faults import Faults, RuleSetFaults
from lognode.rules.grammar.reading import read_published_set, read_rule_set
from lognode.rules.grammar.shapes.paths import NotWell, duration_text, read_duration_ms, read_path, read_template
from lognode.rules.grammar.source.nodes import Leaf, MapNode
from lognode.rules.grammar.source.yaml import read_yaml
from tests.rules.documents import FULL, documents

_ONE_LINE = st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029")


def new_printer() -> YAML:
    printer = YAML(typ="safe", pure=True)
    printer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    printer.representer.ignore_aliases = lambda _: True
    return printer


def as_yaml(value: Any, **style: Any) -> bytes:
    printer = new_printer()
    printer.default_flow_style = style.get("flow", False)
    printer.width = style.get("width", 60)
    printer.allow_unicode = style.get("unicode", True)
    out = StringIO()
    printer.dump(value, out)
    return out.getvalue().encode()


def is_printed_well(printed: bytes, value: Any) -> bool:
    """Whether the printer's own reader has the value back: it folds keys, and may lose a space where it folds."""
    try:
        return bool(YAML(typ="safe", pure=True).load(printed) == value)
    except YAMLError:
        return False


def as_json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def meaning(found: RuleSet) -> tuple[Any, ...]:
    """A rule set without what follows from how it was written."""
    rules = tuple(msgspec.structs.replace(rule, line=0) for rule in found.rules)
    return (found.name, found.description, dict(found.variables), rules)


def read(value: Any) -> RuleSet:
    return read_rule_set(as_json(value), is_json=True)


def gate(**fields: Any) -> Rule:
    rule = {"id": "a", "on": "draft", "then": [{"reject": "no"}], **fields}
    return read({"rules": "set", "do": [rule]}).rules[0]


@settings(max_examples=25, deadline=None)
@given(documents(), st.booleans(), st.integers(20, 100), st.booleans())
def test_a_document_says_the_same_in_yaml_and_in_json(value: Any, flow: bool, width: int, unicode: bool) -> None:  # noqa: FBT001
    said = meaning(read(value))

    printed = as_yaml(value, flow=flow, width=width, unicode=unicode)
    if is_printed_well(printed, value):
        assert meaning(read_rule_set(printed, is_json=False)) == said
    written = as_json(value)
    if re.fullmatch(r"[\n -~\xa1-\u2027\u2030-\ud7ff]*", written.decode()):
        assert meaning(read_rule_set(written, is_json=False)) == said


def test_everything_can_be_said_in_both() -> None:
    found = read(FULL)

    assert meaning(read_rule_set(as_yaml(FULL), is_json=False)) == meaning(found)
    assert [rule.id for rule in found.rules] == ["gate", "allow", "simulate", "reject", "react"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.booleans())
def test_no_bytes_make_the_reader_crash(text: bytes, is_json: bool) -> None:  # noqa: FBT001
    try:
        read_rule_set(text, is_json=is_json)
    except RuleSetFaults as error:
        refused = error
    else:
        return
    assert refused.faults
    assert refused.code in ERRORS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_of_a_document_makes_the_reader_crash(data: st.DataObject) -> None:
    is_json = data.draw(st.booleans())
    text = as_json(FULL) if is_json else as_yaml(FULL)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 40)))
    broken = text[:start] + data.draw(st.text("{}[]:,-#&*!|>'\"%@` \n\tabc01é", max_size=6)).encode() + text[stop:]
    try:
        read_rule_set(broken, is_json=is_json)
    except RuleSetFaults as error:
        faults = error.faults
    else:
        return
    assert all(1 <= fault.line <= broken.count(b"\n") + 2 for fault in faults)


@pytest.mark.parametrize(
    "unit",
    ["[", "{", "{a: ", "- ", "? ", "'", '"', "a:\n", "- &a *a\n", "!!x ", "a: |\n ", "\r", "\u2028", "[{a: ["],
)
def test_a_text_of_one_thing_over_and_over_is_refused(unit: str) -> None:
    with pytest.raises(RuleSetFaults):
        read_rule_set((unit * RULE_SET_BYTES_MAX).encode()[:RULE_SET_BYTES_MAX], is_json=False)
    with pytest.raises(RuleSetFaults):
        read_rule_set((unit * RULE_SET_BYTES_MAX).encode()[:RULE_SET_BYTES_MAX], is_json=True)


@settings(max_examples=60, deadline=None)
@given(
    # The library prints a text in braces that begins with "?" as it is, which it cannot read again.
    st.text(_ONE_LINE, min_size=1, max_size=30).filter(lambda text: text.strip() and not text.startswith("?")),
    st.sampled_from(["'", '"', "|", ">", ""]),
    st.data(),
)
def test_each_character_of_a_scalar_has_its_place(value: str, style: str, data: st.DataObject) -> None:
    """Whatever style a text is written in, the place of a character that is no white space is where that one stands."""
    printer = new_printer()
    printer.width = 20
    printer.default_style = style or None  # type: ignore[assignment]
    out = StringIO()
    printer.dump({"k": value}, out)
    root = read_yaml(out.getvalue(), Faults())
    assert isinstance(root, MapNode)
    leaf = root.entries[0][1]
    assert isinstance(leaf, Leaf)
    text = str(leaf.value)
    at = data.draw(st.integers(0, max(len(text) - 1, 0)))
    place = leaf.place_of(at)
    lines = out.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    there = lines[place.line - 1][place.column - 1 :]
    if text[at : at + 1].strip() and text == value:
        assert there.startswith((text[at], "\\"))


def test_json_tells_places_too() -> None:
    second = ' "do": [{"id": "a", "on": "draft", "when": "kind == \\"\\ud83d\\ude00\\" && knd",'
    text = f'{{"rules": "set",\n{second}\n "then": []}}]}}'

    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(text.encode(), is_json=True)

    told = [(fault.code, fault.line, fault.column) for fault in caught.value.faults]
    assert told == [("rule.bad_cel", 2, second.index("knd") + 1), ("rule.out_of_bounds", 3, 10)]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{"rules": "a", "rules": "b"}', "1:16", "'rules' stands here again"),
        ("{'rules': 1}", "1:2", "a key in double quotes is expected here"),
        ('{"rules": tru}', "1:11", "'tru' is no value"),
        ('{"rules": "a",}', "1:15", "a key in double quotes"),
        ('{"rules": "a"} x', "1:16", "something stands behind the end"),
        ('{"rules": "a\n"}', "1:13", "a text is broken here"),
        ('{"rules": "a', "1:11", "a text is broken here"),
        ('{"rules": 01}', "1:12", "',' or '}' is expected here, not '1'"),
        ('{"rules": NaN}', "1:11", "'NaN' is no value"),
        ('{"rules"', "1:9", "':' is expected here, not the end"),
        ("", "1:1", "a value is expected here, not the end"),
        ('{"rules": 99999999999999999999}', "1:11", "does not fit 64 bits"),
        ('{"rules": "\\ud800"}', "1:11", "half a character"),
        ("[" * 17, "1:17", "nested more than 16 deep"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(text.encode(), is_json=True)

    told = {f"{fault.line}:{fault.column}": fault.message for fault in caught.value.faults}
    assert message in told[place]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_text() -> None:
    text = (
        b"rules: A\ndo:\n- id: a\n  on: drafts\n  kinds: X\n  then: [{rejct: x}]\n"
        b"- id: b\n  on: commit\n  then: [{reject: y}]\n"
    )

    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(text, is_json=False)

    error = caught.value
    assert [(fault.line, fault.code.partition(".")[2]) for fault in error.faults] == [
        (1, "bad_name"), (4, "out_of_bounds"), (5, "bad_kind"), (6, "unknown_key"), (9, "misplaced_action"),
    ]  # fmt: skip
    assert (error.code, error.place, error.count) == ("rule.bad_name", "1:8", 5)
    assert error.problem()["faults"] == [msgspec.to_builtins(fault) for fault in error.faults]
    assert (
        error.faults[3].shown("x.yaml").startswith("x.yaml:6:11: there is no action 'rejct' (did you mean 'reject'?)")
    )


def test_of_very_many_mistakes_the_first_are_told() -> None:
    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(b"".join(b"a%d: x\n" % number for number in range(500)), is_json=False)

    assert len(caught.value.faults) == RULE_SET_FAULTS_MAX
    assert caught.value.count == 502


def test_words_of_older_yaml_are_texts() -> None:
    text = b"rules: set\nvariables: {a: no, b: on, c: 1_000, d: 2001-01-01, e: 12:30, f: yes, g: ~, h: 0.5, i: True}\n"

    found = read_rule_set(text + b"do: [{id: a, on: draft, then: [{note: x}]}]\n", is_json=False)

    assert found.variables == {
        "a": "no", "b": "on", "c": "1_000", "d": "2001-01-01", "e": "12:30", "f": "yes", "g": None, "h": 0.5, "i": True,
    }  # fmt: skip


def test_a_mark_of_byte_order_is_passed_over_and_other_encodings_are_refused() -> None:
    text = b"rules: set\ndo: [{id: a, on: draft, then: [{note: x}]}]\n"

    assert read_rule_set(b"\xef\xbb\xbf" + text, is_json=False).name == "set"
    for encoded in (text.decode().encode("utf-16"), b"rules: set\n  \xc3\xa9\xff"):
        with pytest.raises(RuleSetFaults, match="this is no UTF-8"):
            read_rule_set(encoded, is_json=False)


def test_a_rule_has_its_defaults() -> None:
    rule = gate()

    assert (rule.gate, rule.run, rule.kinds, rule.priority, rule.depends_on) == (True, "author", (), 100, ())
    assert rule.actions == (Reject("no"),)


def test_the_short_form_of_an_expression_is_the_long_one() -> None:
    assert gate(when="has(data.a)").condition == gate(**{"if": {"when": "has(data.a)"}}).condition == Cel("has(data.a)")


def test_windows_of_one_measure_have_one_digest_whatever_they_are_called() -> None:
    def window(name: str, **fields: Any) -> bytes:
        return gate(kinds=["a", "b"], windows={name: {"over": "5m", "by": "data.x", **fields}}).windows[0].digest

    assert window("x") == window("y", over="300s", by='data["x"]', at="commit", count=True, kinds=["b", "a"])
    others = [
        window("x", over="6m"), window("x", by="data.y"), window("x", at="data.t"), window("x", kinds=["a"]),
        window("x", sum="data.n"), window("x", distinct="data.n"), window("x", sum="data.m"),
    ]  # fmt: skip
    assert len({window("x"), *others}) == 8


@pytest.mark.parametrize(
    ("kinds", "kind", "is_one"),
    [
        ((), "login.failed", True),
        ((), "timeline.merge", False),
        ((), "rule.fired", False),
        (("rule.fired",), "rule.fired", True),
        (("login.*",), "login.failed", True),
        (("login.*",), "login.failed.twice", True),
        (("login.*",), "login", False),
        (("login.*",), "logins.failed", False),
        (("login.failed", "x"), "login.failed", True),
    ],
)
def test_kinds_match_wholly_or_by_what_they_begin_with(kinds: tuple[str, ...], kind: str, is_one: bool) -> None:  # noqa: FBT001
    assert matches_kind(kinds, kind) is is_one


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("kind", ("kind",)),
        ("data.client", ("data", "client")),
        ('data["a b"].c', ("data", "a b", "c")),
        ("data['a.b'][0]", ("data", "a.b", 0)),
        ('data["a\\"b\\u00e9"]', ("data", 'a"bé')),
        ("data.a-b", ("data", "a-b")),
        ("last.account.data.state", ("last", "account", "data", "state")),
        ("annotations.tags[2]", ("annotations", "tags", 2)),
        ('data["0"]', ("data", "0")),
        ('data[""]', ("data", "")),
    ],
)
def test_a_path_is_its_segments_and_its_text_reads_back(text: str, segments: tuple[str | int, ...]) -> None:
    path = read_path(text)

    assert path.segments == segments
    assert read_path(str(path)) == path


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.integers(0, 999_999), max_size=6))
def test_every_path_below_data_can_be_written(segments: list[str | int]) -> None:
    path = Path(("data", *segments))

    assert read_path(str(path)) == path
    template, _ = read_template("{" + str(path) + "}")
    assert template == Template((path,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("{{braces}}", "{braces}"),
        ("{kind}", Template((Path(("kind",)),))),
        ("a {kind}!", Template(("a ", Path(("kind",)), "!"))),
        ('{data["}"]}', Template((Path(("data", "}")),))),
        ("{{{kind}}}", Template(("{", Path(("kind",)), "}"))),
    ],
)
def test_a_template_is_its_parts(text: str, said: str | Template) -> None:
    assert read_template(text)[0] == said


@given(st.integers(1, 10**11))
def test_a_duration_reads_back(ms: int) -> None:
    assert read_duration_ms(duration_text(ms)) == ms


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "1m1h", "5x", "-5m", "1.5h", "\u0665m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(NotWell):
        read_duration_ms(text)


def test_a_condition_is_told_with_all_its_parts_and_a_value_with_its_paths() -> None:
    rule = read(FULL).rules[0]

    assert sum(isinstance(part, Not) for part in condition_parts(rule.condition)) == 1
    paths = [str(path) for path in value_paths({"a": ["{x}", Template((Path(("kind",)),))]})]
    assert paths == ["kind"]


def test_what_was_published_is_not_judged_again_for_what_it_does() -> None:
    useless = {"id": "a", "on": "draft", "if": {"not": {"always": True}}, "then": [{"note": "x"}]}
    endless = {"id": "b", "on": "commit", "kinds": "x", "then": [{"emit": {"kind": "x"}}]}
    text = as_json({"rules": "set", "do": [useless, endless]})

    with pytest.raises(RuleSetFaults) as caught:
        read_rule_set(text, is_json=True)
    assert {fault.code for fault in caught.value.faults} == {"rule.unreachable", "rule.cycle"}
    assert [rule.id for rule in read_published_set(text, is_json=True).rules] == ["a", "b"]

    with pytest.raises(RuleSetFaults, match="there is no rule 'c'"):
        read_published_set(as_json({"rules": "set", "do": [{**useless, "depends_on": "c"}]}), is_json=True)


def test_chained_reactions_are_fine_as_long_as_they_end() -> None:
    found = read(
        {
            "rules": "chain",
            "do": [
                {"id": "a", "on": "commit", "kinds": "x", "then": [{"emit": {"kind": "y"}}]},
                {"id": "b", "on": "commit", "kinds": "y", "then": [{"emit": {"kind": "z"}}]},
                {
                    "id": "c",
                    "on": "commit",
                    "if": {"all": [{"exists": "data.a"}, {"not": {"equals": {"kind": "z"}}}]},
                    "then": [{"emit": {"kind": "z"}}],
                },
            ],
        }
    )

    assert len(found.rules) == 3
