"""Errors of rule documents. Each says what is wrong with the text; line, column and the way out come with it."""

from typing import Final

from lognode.core.errors.spec import Kind, Row


def _row(code: str, title: str, hint: str) -> Row:
    kind: Kind = "caller"
    return (f"rule.{code}", kind, 422, False, title, hint)


ROWS: Final[tuple[Row, ...]] = (
    _row("too_large", "Rule set too large", "Split it into several rule sets; they work together."),
    _row("malformed", "Not YAML or JSON", "See docs/rules.md for the form; text with special characters needs quotes."),
    _row("too_deep", "Rule set nested too deeply", "Flatten its conditions, or use a CEL expression."),
    _row("yaml_feature", "YAML beyond what rule sets use", "Write the value out: no anchors, aliases, tags or merges."),
    _row("duplicate_key", "Key appears twice", "Keep one of them; none is dropped silently."),
    _row("unknown_key", "Unknown key", "docs/rules.md lists the keys, conditions and actions."),
    _row("missing_key", "Key missing", "docs/rules.md says which keys must be there."),
    _row("wrong_type", "Value of the wrong type", "docs/rules.md says what each key takes."),
    _row("out_of_bounds", "Value out of bounds", "docs/rules.md gives the bounds."),
    _row("misplaced_key", "Key where it has no place", "docs/rules.md says which keys go together."),
    _row("misplaced_action", "Action where it has no place", "docs/rules.md says which actions go where."),
    _row("bad_name", "Name not valid", "Names are lower-case letters, digits and hyphens, at most 64."),
    _row("bad_kind", "Kind not valid", "Use a kind such as order.paid, or order.* for all that begin so."),
    _row("bad_path", "Path not valid", "Begin it with a fact, such as data.client; docs/rules.md lists them."),
    _row("bad_template", "Template not valid", "Write {PATH} for a value, and {{ or }} for a brace."),
    _row("bad_duration", "Duration not valid", "Write a number with its unit, such as 90s, 5m, 24h or 7d."),
    _row("bad_cron", "Cron expression not valid", "Write minute, hour, day, month and weekday, such as '0 3 * * *'."),
    _row("bad_cel", "CEL expression not valid", "docs/rules.md lists what expressions may use."),
    _row("undeclared", "Name not declared", "Declare it under variables, windows or last."),
    _row("duplicate_id", "Rule id appears twice", "Give each rule of a set an id of its own."),
    _row("unknown_dependency", "Unknown rule in depends_on", "Name rules of the same set."),
    _row("cycle", "Rules in a circle", "Take one of them out of the circle."),
    _row("unreachable", "Rule that can never fire", "Change or delete it."),
    _row("run_unavailable", "Way to run not available", "Use 'author' or 'each'; 'one' comes with leases."),
)
