"""The types of answers about rule sets: JSON objects as the node sends them, with names for their fields."""

from typing import Any, TypedDict

from lognode.client.answers.node import Receipt


class Publication(TypedDict):
    """A span by which a rule set was published, or disabled: then it has no `version`.

    `version` is the SHA-256 of the text. `void` says why it has no effect, whatever was published after it.
    """

    span: str
    at: str
    node: str
    version: str | None
    in_force: bool
    void: str | None


class RuleSet(TypedDict):
    """A rule set by its name, with the publication that holds; or the newest, where none ever counted.

    `here` is the version by which the node decides until it names what it took in since; null where by none.
    """

    name: str
    in_force: bool
    version: str | None
    here: str | None
    description: str
    rules: int
    published: Publication


class RuleSets(TypedDict):
    """A page of rule sets; `next` is null behind the last one."""

    rules: list[RuleSet]
    next: str | None


class Rule(TypedDict):
    """One rule in few words."""

    id: str
    on: str
    description: str
    kinds: list[str]
    priority: int
    line: int


class RuleText(TypedDict):
    """A version of a rule set, with its text as its author wrote it; `here` is that by which the node decides."""

    name: str
    in_force: bool
    version: str
    here: str | None
    media: str
    description: str
    variables: dict[str, Any]
    rules: list[Rule]
    text: str
    published: Publication


class Versions(TypedDict):
    """The newest publications of a rule set, the newest first."""

    name: str
    versions: list[Publication]


class RuleChange(TypedDict):
    """A rule that was added or removed, or that differs in some `fields`."""

    rule: str
    change: str
    fields: list[str]


class Changes(TypedDict):
    """What a version changes of another: `fields` of the set itself, and rules."""

    fields: list[str]
    rules: list[RuleChange]


class Published(TypedDict):
    """A change of what is in force; no `receipt` where nothing was written."""

    name: str
    version: str | None
    before: str | None
    changes: Changes | None
    receipt: Receipt | None
    dry_run: bool


# In this form, since "from" is a word of the language.
Difference = TypedDict("Difference", {"name": str, "from": str, "to": str, "changes": Changes})


class Ground(TypedDict):
    """A condition that decided: what it came to, null where it could not be told, and the values that it read."""

    condition: str
    result: bool | None
    values: dict[str, Any]
    error: str


class Account(TypedDict):
    """Why something became of a rule, in a sentence and by the conditions that decided.

    `outcome` is fired, not, failed, skipped (a rule that it depends on did not fire) or unseen (it was not judged).
    """

    set: str
    rule: str
    outcome: str
    sentence: str
    grounds: list[Ground]


class Decided(TypedDict):
    """An account of a rule that did something or failed; `on` is draft for gate rules and commit for reactions."""

    on: str
    account: Account


class Deviation(TypedDict):
    """Where a node said something else than it had to: what it said, and what was due."""

    where: str
    said: Any
    due: Any


class Altered(TypedDict):
    """What a node said otherwise than it had to."""

    node: str
    differences: list[Deviation]


class Recheck(TypedDict):
    """Whether what was decided is what had to be: same, altered, or withheld where that cannot be told.

    `lacks` says why it cannot be told.
    """

    answer: str
    altered: list[Altered]
    lacks: list[str]


class Decision(TypedDict):
    """What rules decide about a span: `verdict` is the gate's, null where none judged it; `recheck` if asked for."""

    span: str
    verdict: str | None
    sets: dict[str, str]
    rules: list[Decided]
    lacks: list[str]
    recheck: Recheck | None


class Outcome(TypedDict):
    """What rules on trial made of one span."""

    span: str
    verdict: str
    fired: list[str]
    failed: list[str]
    emits: list[str]
    refused: int
    later: int
    is_cut: bool


class RuleTally(TypedDict):
    """How often a rule did what, with the first spans for which it fired."""

    rule: str
    on: str
    fired: int
    failed: int
    examples: list[str]


class ChangeTally(TypedDict):
    """For how many spans something is decided otherwise than by the published version, with the first of them."""

    change: str
    count: int
    examples: list[str]


class Report(TypedDict):
    """What a back-test came to: spans judged, by verdict; what would be emitted, by kind; changes; cost."""

    name: str
    version: str
    beside: list[str]
    spans: int
    verdicts: dict[str, int]
    rules: list[RuleTally]
    emits: dict[str, int]
    refused: int
    later: int
    cut: int
    against: str | None
    changes: list[ChangeTally]
    evaluations: int
    evaluating_s: float


class BacktestLine(TypedDict, total=False):
    """A line of a back-test: how many of how many spans it looked at, what became of one, or at the end the report."""

    done: int
    total: int
    outcome: Outcome
    report: Report
