"""What one version of a rule set says that another does not.

Pure. Invariant: two sets that would decide alike by their texts have no changes, wherever their rules stand.
"""

from typing import Final, Literal

import msgspec

from lognode.rules.document import Rule, RuleSet

_SET_FIELDS: Final = ("description", "variables")
_RULE_FIELDS: Final = tuple(name for name in Rule.__struct_fields__ if name not in {"id", "line"})
_SHOWN: Final = {"gate": "on", "condition": "if", "actions": "then"}  # by their keys in documents


class RuleChange(msgspec.Struct, frozen=True):
    """A rule that is only in one version, or another in both: then `fields` says in what."""

    rule: str
    change: Literal["added", "removed", "changed"]
    fields: tuple[str, ...] = ()


class Changes(msgspec.Struct, frozen=True):
    """What differs between two versions: `fields` of the sets themselves, and their rules in the order of the later."""

    fields: tuple[str, ...]
    rules: tuple[RuleChange, ...]


def changes_between(before: RuleSet | None, after: RuleSet) -> Changes:
    """What a version changes of an earlier one; all of it is new where there was none."""
    earlier = {rule.id: rule for rule in before.rules} if before else {}
    later = {rule.id for rule in after.rules}
    rules = [change for rule in after.rules if (change := _change(earlier.get(rule.id), rule))]
    rules += [RuleChange(id_, "removed") for id_ in earlier if id_ not in later]
    fields = [name for name in _SET_FIELDS if before is None or getattr(before, name) != getattr(after, name)]
    return Changes(tuple(name for name in fields if before or getattr(after, name)), tuple(rules))


def _change(before: Rule | None, after: Rule) -> RuleChange | None:
    if before is None:
        return RuleChange(after.id, "added")
    fields = tuple(_SHOWN.get(name, name) for name in _RULE_FIELDS if getattr(before, name) != getattr(after, name))
    return RuleChange(after.id, "changed", fields) if fields else None
