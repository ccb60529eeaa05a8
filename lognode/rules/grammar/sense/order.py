"""Rules among each other: ids that appear twice, dependencies on nothing, circles.

Invariant: rules that pass have an order in which each stands after those that it depends on.
"""

from collections.abc import Mapping, Sequence

from lognode.rules.document import Emit, Rule, matches_kind
from lognode.rules.grammar.faults import Faults
from lognode.rules.grammar.sense.truth import can_hold, is_about_kind
from lognode.rules.grammar.shapes.rules import Found


def check_order(rules: Sequence[Found], faults: Faults) -> None:
    """Tell of each id that appears twice, each dependency on no other rule, and one circle."""
    by_id = dict[str, Found]()
    for found in rules:
        if found.id is None:
            continue
        if found.id in by_id:
            message = f"a rule {found.id!r} stands in line {by_id[found.id].place.line} already"
            faults.add("rule.duplicate_id", found.fields.place_of("id"), message, "give each rule an id of its own")
        else:
            by_id[found.id] = found
    for found in rules:
        for other in found.depends_on:
            if other not in by_id:
                message = f"there is no rule {other!r} in this set"
                near = faults.near(other, by_id.keys() - {found.id})
                faults.add("rule.unknown_dependency", found.fields.place_of("depends_on"), message, near)
    circle = _circle({name: found.depends_on for name, found in by_id.items()})
    if circle:
        told = " -> ".join((*circle, circle[0]))
        place = by_id[circle[0]].fields.place_of("depends_on")
        faults.add("rule.cycle", place, f"depends_on goes in a circle: {told}", "take one of them out")


def check_chains(found: Sequence[Found], faults: Faults) -> None:
    """Tell of reactions that set each other off without end: spans that they emit, and that they react to."""
    rules = {one.rule.id: one for one in found if one.rule is not None}
    reactions = {name: found.rule for name, found in rules.items() if found.rule and not found.rule.gate}
    # A condition that does not look at the kind is judged once: rules that never fire are told of elsewhere.
    judged = {name: (rule, not is_about_kind(rule.condition)) for name, rule in reactions.items()}
    emitted = {
        name: {action.kind for action in rule.actions if isinstance(action, Emit)} for name, rule in reactions.items()
    }
    targets = {kind: _targets(kind, judged) for kind in set[str]().union(*emitted.values())}
    graph = {name: sorted(set[str]().union(*(targets[kind] for kind in kinds))) for name, kinds in emitted.items()}
    circle = _circle(graph)
    if not circle:
        return
    place = rules[circle[0]].fields.place_of("then")
    if len(circle) == 1:
        message = "the rule reacts to the spans that it emits"
    else:
        message = f"rules set each other off without end: {' -> '.join((*circle, circle[0]))}"
    faults.add("rule.cycle", place, message, "name kinds that the rule does not emit, or exclude them in its condition")


def _targets(kind: str, reactions: Mapping[str, tuple[Rule, bool]]) -> list[str]:
    """The reactions that a span of this kind may set off."""
    return [
        name
        for name, (rule, is_open) in reactions.items()
        if matches_kind(rule.kinds, kind) and (is_open or can_hold(rule.condition, kind))
    ]


def _circle(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """The first circle of a graph, from its first name on; empty where there is none. Not recursive: sets are long."""
    done = set[str]()
    for start in graph:
        path, on_path = [start], {start}
        waiting = [iter(graph[start])] if start not in done else []
        while waiting:
            following = next((name for name in waiting[-1] if name in graph and name not in done), None)
            if following is None:
                waiting.pop()
                done.add(path[-1])
                on_path.discard(path.pop())
            elif following in on_path:
                return path[path.index(following) :]
            else:
                path.append(following)
                on_path.add(following)
                waiting.append(iter(graph[following]))
    return []
