"""CEL expressions: what is refused before any span is seen, what they read, and that what they cost is bounded."""

import subprocess
import sys
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.limits import CEL_BYTES_MAX
from lognode.rules.conditions.cel.cost import Extent, extent_of
from lognode.rules.conditions.cel.expression import BadExpression, Expression, activation_of, compile_expression
from lognode.rules.conditions.cel.patterns import program_size
from lognode.rules.conditions.unclear import Unclear
from tests.rules.judged import decide, draft_facts, one_rule

REFUSED: Final[list[tuple[str, str, tuple[int, int]]]] = [
    ("data.n >", "Syntax error: mismatched input '<EOF>'", (1, 9)),
    ("true &&\n  nothing == 1", "undeclared reference to 'nothing'", (2, 3)),
    ("title == 3", "no matching overload", (1, 7)),
    ("kind + 1 == 2", "no matching overload", (1, 6)),
    ("tags.contains('a')", "no matching overload", (1, 14)),
    ("data.n + 1", "comes to", (1, 1)),
    ("1 + 1", "comes to INT, not to true or false", (1, 1)),
    ("kind.matches(title)", "literal text only", (1, 1)),
    ("tags.exists(t, t.matches('a'))", "may not stand inside all, exists", (1, 1)),
    ("data.all(x, tags.map(y, y).exists(z, [z].all(w, w.matches('a'))))", "may not stand inside all", (1, 1)),
    ("kind.matches('(a{40}){40}')", "steps, at most", (1, 1)),
    ("kind.matches('((a|aa){1,100}){1,9}b')", "steps, at most", (1, 1)),
    ("kind.matches('(a')", "a group does not end", (1, 1)),
    ("kind.matches('a)')", "a group ends that did not begin", (1, 1)),
    ("kind.matches('[a')", "does not end", (1, 1)),
    ("kind.matches('*a')", "", (1, 1)),
    ("time.getHours('Europe/Berlin') == 1", "fixed offset", (1, 1)),
    ("time.getHours(kind) == 1", "fixed offset", (1, 1)),
    ("google.protobuf.Timestamp{seconds: 1} == time", "cannot be made here", (1, 1)),
    ("'" + "x" * CEL_BYTES_MAX + "' == kind", "bytes, at most", (1, 1)),
    ("(" * 40 + "true" + ")" * 40, "recursion", (1, 1)),
    ("[" * 40 + "1" + "]" * 40 + " == data", "recursion", (1, 1)),
    ("1" + " + 1" * 100 + " == 2", "recursion", (1, 1)),
    ("data" + ".a" * 100 + " == 1", "recursion", (1, 1)),
]


@pytest.mark.parametrize(("text", "message", "place"), REFUSED, ids=[row[0][:40] for row in REFUSED])
def test_an_expression_that_errs_or_cannot_be_bounded_is_refused(
    text: str, message: str, place: tuple[int, int]
) -> None:
    with pytest.raises(BadExpression) as refused:
        compile_expression(text)

    assert message in str(refused.value)
    assert (refused.value.line, refused.value.column) == place


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("true", ()),
        ("data.a.b > 1", (("data", "a", "b"),)),
        ("data['a b'][0].c == vars.limit", (("data", "a b", 0, "c"), ("vars", "limit"))),
        ("has(data.a) && data.a == 1", (("data", "a"),)),
        ("data.list.exists(x, x.n == data.n)", (("data", "list"), ("data", "n"))),
        ("data[title] == kind", (("data",), ("title",), ("kind",))),
        ("tags.exists(kind, kind == 'a')", (("tags",),)),  # the loop's own `kind`
        ("[kind].exists(x, x == kind)", (("kind",),)),
        ("windows.many > 3 && last.one.data.n == 1", (("windows", "many"), ("last", "one", "data", "n"))),
    ],
)
def test_an_expression_tells_the_paths_that_it_reads(text: str, reads: tuple[Any, ...]) -> None:
    assert compile_expression(text).reads == reads


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("abc", 3, 10),
        ("a{10}", 10, 30),
        ("(ab){10}{3}", 60, 300),
        ("(a{30}){30}", 900, 3000),
        ("a{2,}", 2, 10),
        (r"\pL", 100, 1000),
        (r"[\p{Greek}x]", 100, 1000),
        (r"\Qa{100}\E", 6, 50),
        ("[]a]", 2, 30),
        ("[^]a]", 2, 30),
        ("[[:alpha:]]+", 2, 50),
        ("(a|b|)*", 3, 20),
        ("(?i)straße", 6, 40),
        ("a{x}", 4, 15),
    ],
)
def test_the_size_of_a_pattern_is_near_its_program(pattern: str, least: int, most: int) -> None:
    assert least <= program_size(pattern) <= most


@given(st.text("ab()[]{}\\*+?|.^-0123456789,pQE:é", max_size=30))
def test_no_pattern_makes_the_measure_fail(pattern: str) -> None:
    with suppress(ValueError):
        assert program_size(pattern) >= 1


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("xy", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def parts(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + parts(item) for item in value.values())
    return 1 + (sum(map(parts, value)) if isinstance(value, list) else 0)


@given(JSON)
def test_an_extent_is_no_less_than_what_a_value_holds(value: Any) -> None:
    found = extent_of(value)

    def check(inner: Any) -> None:
        if isinstance(inner, str):
            assert found.text >= len(inner)
        elif isinstance(inner, dict | list):
            assert found.items >= len(inner)
            for item in [*inner, *inner.values()] if isinstance(inner, dict) else inner:
                check(item)

    check(value)
    assert found.parts >= parts(value)


@pytest.mark.parametrize(
    "text",
    [
        "data.list.all(x, data == data)",
        "data.list.map(x, x).map(x, x) == [1]",
        "data.text.contains(data.needle)",
        "data.list.exists(x, data.text.contains('aaab'))",
        "data.list.exists(x, data.list.exists(y, x == y))",
        "size(data.list.filter(x, x != 1)) > 0",
        "data.text.matches('(a|aa){1,60}b')",
        "data.list.all(x, size(data.text) > 0)",
        "data.list.map(x, x + x).map(x, x + x).map(x, x + x).exists(x, x == 'a')",
    ],
)
def test_the_cost_grows_with_what_an_expression_reads(text: str) -> None:
    expression = compile_expression(text)
    small = expression.cost(lambda _: Extent(100, 10, 20))
    large = expression.cost(lambda _: Extent(10_000, 1_000, 2_000))

    assert small < 3_000_000
    assert large > 10 * small
    assert expression.cost_below(65_536) >= large


def test_an_expression_comes_to_true_or_false_or_is_unclear() -> None:
    activation = activation_of({"data": {"n": 1, "s": "text"}})

    assert Expression("data.n == 1").evaluate(activation) is True
    assert Expression("data.n == 2").evaluate(activation) is False
    for text in ("data.n", "data.s", "data.none == 1", "data.n / 0 == 1", "data.s > 1", "kind == 'a'"):
        with pytest.raises(Unclear) as unclear:
            Expression(text).evaluate(activation)
        assert str(unclear.value)


def test_the_library_stops_at_the_iterations_that_the_cost_counts_with() -> None:
    """What cost.py takes for granted of the library: were it to change, the bound would not hold."""
    loop = compile_expression("data.all(x, x >= 0)")

    assert loop.evaluate(activation_of({"data": list(range(9_999))}))
    with pytest.raises(Unclear, match="Iteration budget"):
        loop.evaluate(activation_of({"data": list(range(10_001))}))


def test_a_node_loads_the_library_only_for_rules_with_expressions() -> None:
    code = "import sys, lognode.node.running; sys.exit('cel_expr_python' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "verdict"), [("a", "reject"), (["a"], "allow"), ("a" * 9000, "reject"), (1, "allow")]
)
def test_expressions_may_name_types_whatever_the_size_of_what_they_read(value: object, verdict: str) -> None:
    rules = one_rule("when: type(data.a) == string && type(data.a) != list", then="[{reject: no}]")
    decision = decide(rules, facts=draft_facts({"data": {"a": value}}))
    assert decision.verdict == verdict
