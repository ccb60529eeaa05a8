"""Rules that can never fire, as far as the document shows.

Invariant: a rule that is refused here fires for no span, whatever else is in force.
"""

from collections.abc import Mapping, Sequence

from lognode.core.span import RESERVED_PREFIXES
from lognode.rules.document import ALL_BELOW, Reject, Rule
from lognode.rules.grammar.faults import Faults
from lognode.rules.grammar.sense.truth import can_hold, is_about_kind, truth
from lognode.rules.grammar.shapes.rules import Found


def check_reach(rules: Sequence[Found], faults: Faults) -> None:
    """Tell of each rule that can never fire, and why. Rules with other faults are passed over."""
    read = [found for found in rules if found.rule is not None]
    by_id = {found.rule.id: found.rule for found in read if found.rule}
    barriers = [found.rule for found in read if found.rule and _rejects_all(found.rule)]
    for found in read:
        assert found.rule is not None
        for key, why, advice in _reasons(found.rule, by_id, barriers):
            shown = "when" if key == "if" and key not in found.fields else key
            faults.add("rule.unreachable", found.fields.place_of(shown), why, advice)
            break


def _reasons(rule: Rule, by_id: Mapping[str, Rule], barriers: Sequence[Rule]) -> Sequence[tuple[str, str, str]]:
    """Why a rule can never fire: the key where it shows, the reason, a way out. The plainest first."""
    found = list[tuple[str, str, str]]()
    if rule.gate and rule.kinds and all(_is_written_by_nodes(kind) for kind in rule.kinds):
        why = "nodes write these kinds by themselves, so no draft is of them"
        found.append(("kinds", why, "write on: commit to react to them"))
    if not _holds_for_some(rule):
        key = "if" if not found else "kinds"
        found.append((key, "the condition never holds", "see which of its parts exclude each other"))
    for name in rule.depends_on:
        needed = by_id.get(name)
        if needed is None or needed is rule:
            continue
        if needed.gate is not rule.gate:
            phase = "draft" if needed.gate else "commit"
            found.append(
                ("depends_on", f"{name!r} is a rule on: {phase}, so it never fires with this one", "delete it")
            )
        elif not _overlap(rule.kinds, needed.kinds):
            found.append(("depends_on", f"no kind is of both this rule and {name!r}", "give both a kind in common"))
        elif any(isinstance(action, Reject) for action in needed.actions):
            found.append(("depends_on", f"where {name!r} fires, the draft is rejected", "delete it"))
    for barrier in barriers:
        if rule.gate and barrier is not rule and _is_before(barrier, rule) and _covers(barrier.kinds, rule.kinds):
            why = f"{barrier.id!r} rejects every draft of these kinds before"
            found.append(("id", why, f"give it a priority below {barrier.priority}, or delete it"))
    return found


def _is_written_by_nodes(kind: str) -> bool:
    return kind.removesuffix(ALL_BELOW).partition(".")[0] in RESERVED_PREFIXES


def _holds_for_some(rule: Rule) -> bool:
    is_open = not rule.kinds or any(kind.endswith(ALL_BELOW) for kind in rule.kinds)
    if is_open or not is_about_kind(rule.condition):
        return can_hold(rule.condition)
    return any(can_hold(rule.condition, kind) for kind in rule.kinds)


def _rejects_all(rule: Rule) -> bool:
    """Whether every draft of the rule's kinds is rejected."""
    is_sure = rule.gate and not rule.depends_on and truth(rule.condition) is True
    return is_sure and any(isinstance(action, Reject) for action in rule.actions)


def _is_before(one: Rule, other: Rule) -> bool:
    """Whether the first, which depends on nothing, runs before the second: it is ready from the start."""
    return (one.priority, one.id) < (other.priority, other.id)


def _covers(kinds: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether every kind of the other is one of these; of kinds that nodes write there are no drafts."""
    if not kinds:
        return True
    return bool(other) and all(any(_holds(one, kind) for one in kinds) for kind in other)


def _holds(one: str, kind: str) -> bool:
    """Whether all that a kind or pattern stands for is of the first."""
    return one == kind or (one.endswith(ALL_BELOW) and kind.startswith(one[:-1]))


def _overlap(kinds: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some kind is of both. No kinds are all but those that nodes write."""
    if not kinds or not other:
        named = kinds or other
        return not named or not all(_is_written_by_nodes(kind) for kind in named)
    return any(_holds(one, two) or _holds(two, one) for one in kinds for two in other)
