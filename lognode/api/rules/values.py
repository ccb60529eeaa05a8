"""How rule sets and their versions look in JSON."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from lognode.api.federation.requests import node_name
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.clock import hlc_ms, time_text
from lognode.core.ids import b32encode
from lognode.core.span import span_hlc
from lognode.engine.service.ruling.publishing import Published, Version
from lognode.rules.changes import changes_between
from lognode.rules.document import RuleSet


class PublicationJson(msgspec.Struct, frozen=True):
    """A span by which a rule set was published, or disabled: then it has no `version`.

    `version` is the SHA-256 of the text. `void` says why it has no effect, whatever was published after it.
    """

    span: str
    at: str
    node: str
    version: str | None
    in_force: bool
    void: str | None


class RuleSetJson(msgspec.Struct, frozen=True):
    """A rule set by its name, with the publication that holds; or the newest, where none ever counted.

    `here` is the version by which this node decides until it names what it took in since, which it does before its next
    span; null where it decides by none.
    """

    name: str
    in_force: bool
    version: str | None
    here: str | None
    description: str
    rules: int
    published: PublicationJson


class RuleSetsJson(msgspec.Struct, frozen=True):
    """A page of rule sets by name; `next` is null behind the last one."""

    rules: list[RuleSetJson]
    next: str | None


class RuleJson(msgspec.Struct, frozen=True):
    """One rule in few words; `kinds` are empty where it is about all but those that nodes write by themselves."""

    id: str
    on: Literal["draft", "commit"]
    description: str
    kinds: list[str]
    priority: int
    line: int


class RuleTextJson(msgspec.Struct, frozen=True):
    """A version of a rule set, with its text as its author wrote it; `here` is that by which this node decides."""

    name: str
    in_force: bool
    version: str
    here: str | None
    media: Literal["yaml", "json"]
    description: str
    variables: Mapping[str, Any]
    rules: list[RuleJson]
    text: str
    published: PublicationJson


class VersionsJson(msgspec.Struct, frozen=True):
    """The newest publications of a rule set, the newest first."""

    name: str
    versions: list[PublicationJson]


class RuleChangeJson(msgspec.Struct, frozen=True):
    """A rule that only one version has, or that differs in some `fields`."""

    rule: str
    change: Literal["added", "removed", "changed"]
    fields: list[str]


class ChangesJson(msgspec.Struct, frozen=True):
    """What a version changes of another: `fields` of the set itself, and rules."""

    fields: list[str]
    rules: list[RuleChangeJson]


class PublishedJson(msgspec.Struct, frozen=True):
    """A change of what is in force: `version` is null where nothing is any more, `before` where nothing was.

    `receipt` is null where nothing was written: with `dry_run`, or where it is in force already.
    """

    name: str
    version: str | None
    before: str | None
    changes: ChangesJson | None
    receipt: ReceiptJson | None
    dry_run: bool


class DifferenceJson(msgspec.Struct, frozen=True, rename={"earlier": "from", "later": "to"}):
    """What one version changes of another."""

    name: str
    earlier: str
    later: str
    changes: ChangesJson


class RollbackJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version to publish again: the beginning of its SHA-256 is enough if no other begins so."""

    version: str


def publication_json(version: Version) -> PublicationJson:
    """A publication for people."""
    said = version.publication
    return PublicationJson(
        span=b32encode(said.id),
        at=time_text(hlc_ms(span_hlc(said.id))),
        node=node_name(said.node_key),
        version=said.hash.hex() if said.hash else None,
        in_force=version.is_in_force,
        void=version.fault,
    )


def rule_set_json(name: str, version: Version, rules: RuleSet | None, here: RuleSet | None) -> RuleSetJson:
    """A rule set in a list; `rules` is None where it is not in force, `here` where this node does not decide by it."""
    return RuleSetJson(
        name,
        version.is_in_force,
        version.publication.hash.hex() if version.publication.hash else None,
        here.hash.hex() if here else None,
        rules.description if rules else "",
        len(rules.rules) if rules else 0,
        publication_json(version),
    )


def rule_text_json(version: Version, rules: RuleSet, here: RuleSet | None) -> RuleTextJson:
    """A version with its text."""
    assert version.publication.media is not None
    return RuleTextJson(
        name=rules.name,
        in_force=version.is_in_force,
        version=rules.hash.hex(),
        here=here.hash.hex() if here else None,
        media=version.publication.media,
        description=rules.description,
        variables=rules.variables,
        rules=[
            RuleJson(
                rule.id,
                "draft" if rule.gate else "commit",
                rule.description,
                list(rule.kinds),
                rule.priority,
                rule.line,
            )
            for rule in rules.rules
        ],
        text=rules.text.decode(),
        published=publication_json(version),
    )


def changes_json(before: RuleSet | None, after: RuleSet) -> ChangesJson:
    """What a version changes of another."""
    changes = changes_between(before, after)
    rules = [RuleChangeJson(one.rule, one.change, list(one.fields)) for one in changes.rules]
    return ChangesJson(list(changes.fields), rules)


def published_json(published: Published, *, is_trial: bool) -> PublishedJson:
    """A change of what is in force."""
    before, after = published.before, published.after
    return PublishedJson(
        name=published.name,
        version=after.hash.hex() if after else None,
        before=before.hash.hex() if before else None,
        changes=changes_json(before, after) if after else None,
        receipt=receipt_json(published.receipt) if published.receipt else None,
        dry_run=is_trial,
    )
