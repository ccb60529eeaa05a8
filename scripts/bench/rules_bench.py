"""Figures of rules: evaluations a second by number of rules, and the longest one that a search finds.

Processor time, not the clock: other programs of the machine are no part of a figure. Facts are new for each
evaluation, as they are for each span, so decoding is counted where a rule reads what has to be decoded.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path as File
from typing import Any, Final

import cbor2
from figure import Figure

from lognode.core.draft import Draft
from lognode.core.ids import LogLine
from lognode.core.limits import GC_OBJECTS
from lognode.core.span import Header, encode_body
from lognode.rules.conditions.cel.expression import BadExpression, compile_expression
from lognode.rules.document import (
    All,
    Cel,
    Condition,
    Equals,
    Exists,
    GreaterThan,
    Last,
    Path,
    Reject,
    Rule,
    RuleSet,
    Window,
)
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import Program, compile_rules
from lognode.rules.evaluation.samples import Sample
from lognode.rules.evaluation.verdict import evaluate

WRITER: Final = Writer(LogLine(b"\x01" + bytes(32)), "trusted")
REQUEST: Final = {"client": "83.149.9.216", "method": "GET", "path": "/presentations/kibana.png", "status": 200, "n": 5}
COUNTS: Final = (1, 10, 100, 1000)
EVALUATIONS: Final = 2_000
SEARCH_S: Final = 20.0  # of each run


class NoPast:
    """The past of a tenant's first span."""

    def window(self, window: Window, sample: Sample) -> int:  # noqa: ARG002 - as its like takes them
        """Nothing was before."""
        return 0

    def last(self, last: Last, subject: str) -> None:
        """Nor about any subject."""


NO_PAST: Final = NoPast()


def rules(folder: File, spans: int, runs: int) -> Iterator[Figure]:  # noqa: ARG001 - as all benchmarks are called
    """How many spans a second are judged, and how long one may take."""
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])  # as a daemon does
    forms: list[tuple[str, Callable[[int], Condition]]] = [
        ("three conditions", three_conditions),
        ("a CEL expression", lambda place: Cel(f"data.n > {100 + place} && data.method == 'GET'")),
    ]
    for form, condition in forms:
        alone = None
        for count in COUNTS:
            found = [rate(program(count, condition, of_kind=1)) for _ in range(runs)]
            yield Figure(f"{form}, 1 of {count} rules of the kind", "spans/s", found, "1 rule", alone)
            alone = alone or sorted(found)[len(found) // 2]
        for count in COUNTS[1:]:
            found = [rate(program(count, condition, of_kind=count)) for _ in range(runs)]
            yield Figure(f"{form}, {count} rules, all of the kind", "spans/s", found, "1 rule", alone)
    worst = [search(random.Random(seed)) for seed in range(runs)]
    yield Figure("longest evaluation found by search", "ms", [took * 1e3 for took, _ in worst], more={"by": worst})
    yield Figure("200 rules that loop over 64 KiB", "ms", [crowded() * 1e3 for _ in range(runs)])
    for name, payload in LARGE.items():
        for who, read in (("draft", of_draft), ("another node's span", of_span)):
            facts = [min(decoded(read, cbor2.dumps(payload)) for _ in range(3)) * 1e3 for _ in range(runs)]
            yield Figure(f"reading data, {name}, {who}", "ms", facts)
    yield Figure("1,000 rules at the least that each may take", "ms", [many_cheap() * 1e3 for _ in range(runs)])


def three_conditions(place: int) -> Condition:
    """A rule as people write it."""
    client, path, number = (Path(("data", name)) for name in ("client", "path", "n"))
    return All((Equals(client, "83.149.9.216"), Exists(path), GreaterThan(number, 100 + place)))


def program(count: int, condition: Callable[[int], Condition], *, of_kind: int) -> Program:
    """`count` rules, of which the first `of_kind` look at the kind that is judged. None of them fires."""
    return compiled(
        Rule(f"r{place}", True, (Reject("no"),), condition(place), 1,  # noqa: FBT003 - a gate rule
             kinds=("http.request",) if place < of_kind else (f"kind{place}.other",))
        for place in range(count)
    )  # fmt: skip


def compiled(found: Iterator[Rule]) -> Program:
    """A program of one set."""
    return compile_rules([RuleSet("bench", tuple(found), {}, b"", sha256(b"bench").digest())])


def rate(judging: Program) -> float:
    """Spans a second."""
    draft = Draft("http.request", data=cbor2.dumps(REQUEST))
    evaluate(judging, Facts.of_draft(draft, WRITER, hlc=1), NO_PAST, gate=True)
    number = max(20, EVALUATIONS // len(judging.rules_for("http.request", gate=True)))
    began = time.process_time()
    for hlc in range(number):
        evaluate(judging, Facts.of_draft(draft, WRITER, hlc=hlc), NO_PAST, gate=True)
    return number / (time.process_time() - began)


def took(judging: Program, data: bytes) -> float:
    """Seconds of one evaluation, decoding with it."""
    draft = Draft("http.request", data=data)
    began = time.process_time()
    evaluate(judging, Facts.of_draft(draft, WRITER, hlc=1), NO_PAST, gate=True)
    return time.process_time() - began


def crowded() -> float:
    """Rules that together would take some seconds."""
    loops = (Cel(f"data.l.exists(x, x == -{1 + place})") for place in range(200))
    judging = compiled(Rule(f"r{place}", True, (Reject("no"),), loop, 1) for place, loop in enumerate(loops))  # noqa: FBT003
    data = cbor2.dumps({"l": list(range(9_000))})
    return min(took(judging, data) for _ in range(3))


def many_cheap() -> float:
    """Rules each of which takes about what it may whatever the others took."""
    text = "a" * 7_000
    costs = (Cel(f"data.s.contains('b{place}') || size(data.s) == {place}") for place in range(1_000))
    judging = compiled(Rule(f"r{place}", True, (Reject("no"),), one, 1) for place, one in enumerate(costs))  # noqa: FBT003
    took(judging, cbor2.dumps({"s": "x" * 1_000}))  # so that all are compiled
    data = cbor2.dumps({"s": text})
    return min(took(judging, data) for _ in range(3))


LARGE: Final[dict[str, Any]] = {
    "a text": {"s": "a" * 800_000},
    "numbers": {"l": [1] * 65_000},
    "lists in lists": {"l": [[[1]]] * 16_000},
    "more lists than may be": {"l": [[[1]]] * 260_000},
}


def of_draft(data: bytes) -> Facts:
    """The facts of a draft with these data."""
    return Facts.of_draft(Draft("http.request", data=data), WRITER, hlc=1)


def of_span(data: bytes) -> Facts:
    """The facts of another node's span with these data, whose values nobody here has checked."""
    body = encode_body((bytes(16), None, data, [], None, None, None, None, [], b"", b"", None, None))
    header = Header(1, "http.request", None, 0, None, sha256(body).digest(), len(body))
    return Facts.of_span(header, body, WRITER, hlc=1, visibility=1)


def decoded(read: Callable[[bytes], Facts], data: bytes) -> float:
    """Seconds until a rule has a value of the data."""
    facts = read(data)
    began = time.process_time()
    facts.fact("data")
    return time.process_time() - began


# Values of up to 64 KiB in which one thing is as large as can be.
PAYLOADS: Final[Sequence[dict[str, Any]]] = (
    {"l": list(range(15_000)), "s": "a", "t": "b", "m": {"k": 1}},
    {"l": [0], "s": "a" * 60_000, "t": "a" * 3_000 + "b", "m": {}},
    {"l": [{"a": place, "b": f"x{place}"} for place in range(4_000)], "s": "xyz", "t": "x", "m": {"a": 1}},
    {"l": ["a" * 60] * 900, "s": "a" * 60, "t": "aaaab", "m": {}},
    {"l": [[1] * 30] * 1_500, "s": "a", "t": "a", "m": {f"k{place}": place for place in range(500)}},
    {"l": list(range(50)), "s": "k5", "t": "k", "m": {f"k{place}": place for place in range(7_000)}},
    {"l": ["a" * 100] * 200 + list(range(100)), "s": "a" * 20_000, "t": "a" * 10_000 + "b", "m": {"a": "a" * 1_000}},
    {"l": [list(range(2_000))] * 2, "s": "a" * 5_000, "t": "a" * 2_500, "m": {"a": list(range(2_000))}},
)
ATOMS: Final = (
    "true", "data.s == data.t", "data.l == data.m", "data == data", "data.s.contains(data.t)", "1 in data.l",
    "data.s.contains('aab')", "size(data.s) > 3", "'k1' in data.m",
)  # fmt: skip
OF_ONE: Final = ("{0} == 1", "{0} in data.l", "{0} == data.m", "size({0}) > 3", "string({0}).contains('1')")
PATTERNS: Final = ("a*b", "(a|aa)*c", "(a|aa){1,40}b", "(.*)(.*)(.*)z", ".{0,50}z", "(x+x+)+y", r"\\\\pL+z")


def search(chance: random.Random) -> tuple[float, str]:
    """The longest evaluation that random expressions over large values come to, and its expression."""
    encoded = [cbor2.dumps(payload) for payload in PAYLOADS]
    worst = (0.0, "")
    end = time.process_time() + SEARCH_S
    while time.process_time() < end:
        text = truth(chance, chance.randrange(1, 6), ())
        try:
            compile_expression(text)
        except BadExpression:
            continue
        judging = compiled(iter([Rule("r", True, (Reject("no"),), Cel(text), 1)]))  # noqa: FBT003
        for data in encoded:
            # What is long once may have been a collection of garbage; what is long each time is the evaluation.
            if took(judging, data) > worst[0]:
                worst = max(worst, (min(took(judging, data) for _ in range(3)), text))
    return worst


def truth(chance: random.Random, depth: int, names: tuple[str, ...]) -> str:
    """An expression that comes to true or false."""
    if not depth:
        return chance.choice([*ATOMS, *(form.format(name) for name in names for form in OF_ONE)])
    match chance.randrange(8):
        case 0 | 1:
            joined = chance.choice(["&&", "||"])
            return f"({truth(chance, depth - 1, names)} {joined} {truth(chance, depth - 1, names)})"
        case 2 | 3 | 4:
            name = "xyzwuv"[len(names) % 6]
            loop = chance.choice(["all", "exists", "exists_one"])
            return f"{many(chance, depth - 1, names)}.{loop}({name}, {truth(chance, depth - 1, (*names, name))})"
        case 5:
            return f"{value(chance, depth - 1, names)} == {value(chance, depth - 1, names)}"
        case 6:
            return f"{words(chance, depth - 1, names)}.contains({words(chance, depth - 1, names)})"
        case _:
            return f"{words(chance, depth - 1, names)}.matches('{chance.choice(PATTERNS)}')"


def many(chance: random.Random, depth: int, names: tuple[str, ...]) -> str:
    """An expression that comes to a list or map."""
    name = "pqrst"[len(names) % 5]
    if not depth or chance.random() < 0.4:
        return chance.choice(["data.l", "data.m", "tags", *names])
    match chance.randrange(4):
        case 0:
            return f"{many(chance, depth - 1, names)}.map({name}, {value(chance, depth - 1, (*names, name))})"
        case 1:
            return f"{many(chance, depth - 1, names)}.filter({name}, {truth(chance, depth - 1, (*names, name))})"
        case 2:
            return f"({many(chance, depth - 1, names)} + {many(chance, depth - 1, names)})"
        case _:
            return f"[{value(chance, depth - 1, names)}, {value(chance, depth - 1, names)}]"


def words(chance: random.Random, depth: int, names: tuple[str, ...]) -> str:
    """An expression that comes to a text."""
    if not depth or chance.random() < 0.4:
        return chance.choice(["data.s", "data.t", "'aaaaaaaaaaaaaaaaab'", *names])
    if chance.random() < 0.5:
        return f"({words(chance, depth - 1, names)} + {words(chance, depth - 1, names)})"
    return f"string({value(chance, depth - 1, names)})"


def value(chance: random.Random, depth: int, names: tuple[str, ...]) -> str:
    """Any expression."""
    if not depth:
        return chance.choice(["1", "'a'", "data", "data.l", "data.m", "data.s", *names, *names])
    return chance.choice([many, words])(chance, depth - 1, names)
