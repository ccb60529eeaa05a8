"""What the tests of rules share: rule sets from a few lines, drafts and spans from JSON, and a past that is made up."""

from collections.abc import Mapping
from hashlib import sha256
from textwrap import dedent, indent
from typing import Any, Final

import msgspec

from lognode.core.clock import hlc_from_ms
from lognode.core.draft import parse_json_draft
from lognode.core.ids import LogLine
from lognode.core.span import Header, encode_body
from lognode.rules.document import Action, Condition, Last, Note, Rule, RuleSet, Window
from lognode.rules.evaluation.decision import Decision
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.samples import Sample
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.grammar.reading import read_rule_set

NODE: Final = LogLine(b"\x01" + b"n" * 32)
PERSON: Final = LogLine(b"\x02" + b"p" * 32)
NOON_MS: Final = 1_767_268_800_000  # 2026-01-01T12:00:00Z
WRITER: Final = Writer(NODE, "trusted", "member")


def rules_of(text: str) -> RuleSet:
    """The rule set that a document in YAML is."""
    return read_rule_set(dedent(text).encode(), is_json=False)


def one_rule(condition: str, *, then: str = "[{note: fired}]", more: str = "", variables: str = "{}") -> RuleSet:
    """A set with one gate rule `r`; `condition` is its key and value, `more` are other keys."""
    return rules_of(
        f"rules: s\nvariables: {variables}\ndo:\n  - id: r\n    on: draft\n"
        + indent(dedent(more or "description: one rule").strip(), "    ")
        + "\n"
        + indent(dedent(condition).strip(), "    ")
        + f"\n    then: {then}\n"
    )


def made(*rules: Rule, name: str = "s", variables: Mapping[str, Any] | None = None) -> RuleSet:
    """A set of rules that no document says, for what the grammar would refuse."""
    return RuleSet(name, rules, variables or {}, b"", sha256(name.encode()).digest())


def a_rule(name: str, condition: Condition, *actions: Action, gate: bool = True, **more: Any) -> Rule:
    """A rule that no document says; without actions it notes its name."""
    return Rule(name, gate, actions or (Note(name),), condition, 1, **more)


def draft_facts(said: Mapping[str, Any], *, writer: Writer = WRITER, at_ms: int = NOON_MS, **more: Any) -> Facts:
    """The facts of a draft in JSON; its kind is `test.done` where it says none."""
    draft, _ = parse_json_draft(msgspec.json.encode({"kind": "test.done", **said}))
    return Facts.of_draft(draft, writer, hlc=hlc_from_ms(at_ms), **more)


def span_facts(said: Mapping[str, Any], annotations: bytes = b"", *, at_ms: int = NOON_MS, **more: Any) -> Facts:
    """The facts of the span that a draft in JSON becomes."""
    draft, _ = parse_json_draft(msgspec.json.encode({"kind": "test.done", **said}))
    body = encode_body(
        (
            bytes(16), draft.title, draft.data, draft.tags, draft.subject, draft.contract_id, draft.workflow_id,
            draft.flow_id, draft.related, draft.metadata, annotations, None, None,
        )
    )  # fmt: skip
    header = Header(1, draft.kind, draft.actor, draft.status, None, sha256(body).digest(), len(body))
    return Facts.of_span(header, body, WRITER, hlc=hlc_from_ms(at_ms), visibility=draft.visibility, **more)


class Past:
    """A causal past: what windows measure without the span, by name, and last spans by subject. Counts questions."""

    def __init__(
        self, windows: Mapping[str, int | float] | None = None, last: Mapping[str, Facts] | None = None
    ) -> None:
        self._windows = windows or {}
        self._last = last or {}
        self.asked: list[tuple[str, Sample | str]] = []

    def window(self, window: Window, sample: Sample) -> int | float:
        self.asked.append((window.name, sample))
        return self._windows.get(window.name, 0)

    def last(self, last: Last, subject: str) -> Facts | None:
        self.asked.append((last.name, subject))
        return self._last.get(subject)


NO_PAST: Final = Past()


def decide(*sets: RuleSet, facts: Facts, past: Past = NO_PAST, gate: bool = True, traces: bool = True) -> Decision:
    """What the sets come to together."""
    return evaluate(compile_rules(sets), facts, past, gate=gate, traces=traces)


def outcome(rules: RuleSet, facts: Facts, past: Past = NO_PAST) -> str:
    """What became of the first rule of a set."""
    return decide(rules, facts=facts, past=past).steps[0].outcome
