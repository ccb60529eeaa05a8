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
    """A rule set by its name, with the publication that holds; or the newest, where none ever counted."""

    name: str
    in_force: bool
    version: str | None
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
    """A version of a rule set, with its text as its author wrote it."""

    name: str
    in_force: bool
    version: str
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
