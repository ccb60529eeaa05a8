"""Commands that read and change what spans come to: subject, revert, state rebuild."""

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text
from lognode.cli.view.nodes import short_key

if TYPE_CHECKING:
    from lognode.client.answers.state import Conflict, Said, Subject

LIST_MAX: Final = 100
VALUE_CELLS: Final = 60
SETTLED: Final = "settled: nothing can come before it any more"
PROVISIONAL: Final = "provisional: a member that was not heard since may have said something else"


def subject(subject: str | None = None, /, *, prefix: str = "", limit: int = LIST_MAX, target: Target = HERE) -> None:
    """Say what holds of a subject; without one, list subjects.

    The newest span about it holds. Where nodes said something of it without knowing of each other, that is shown as a
    conflict, with what holds meanwhile.

    Parameters
    ----------
    subject
        The subject, as spans name it.
    prefix
        Of the list, only subjects that begin so.
    limit
        How many subjects the list shows at most.

    Examples
    --------
    $ lognode subject 'order 17'
    $ lognode subject --prefix 'order '
    """
    with target.client() as client:
        found = [client.subject(subject)] if subject is not None else list(islice(client.subjects(prefix), limit))
    if target.json:
        print_json(found[0] if subject is not None else {"subjects": found})
    elif subject is not None:
        show_subject(found[0])
    elif not found:
        print_text("No span is about a subject that begins so." if prefix else "No span is about any subject.")
    else:
        print_table(("subject", "kind", "value", "at", ""), [_row(each) for each in found])


def revert(span_id: str, /, *, reason: str = "", target: Target = HERE) -> None:
    """Take a span back.

    What was said of its subject before it counts again. The span stays in the timeline, and so does who took it back.
    To undo that, take back the span that this command prints.

    Parameters
    ----------
    span_id
        The id of the span.
    reason
        Why, for whoever reads the timeline.

    Examples
    --------
    $ lognode revert 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0
    """
    with target.client() as client:
        receipt = client.revert(span_id, reason=reason)
    if target.json:
        print_json(receipt)
    else:
        print_rows({"Reverted": span_id, "By": receipt["id"]})


def state_rebuild(*, target: Target = HERE) -> None:
    """Make again what state is read from, out of the spans alone.

    It prints what that changed. In a sound database nothing is: what nodes agree on follows from their spans.

    Examples
    --------
    $ lognode state rebuild
    """
    with target.client() as client:
        answer = client.rebuild_state()
    if target.json:
        print_json(answer)
        return
    tables = answer["tables"]
    print_table(("table", "rows", "changed"), [(name, each["rows"], each["changed"]) for name, each in tables.items()])
    changed = sum(each["changed"] for each in tables.values())
    print_text("Nothing changed." if not changed else f"{changed:,} rows changed: run 'lognode verify'.")


def show_subject(found: "Subject") -> None:
    """A subject for people: what holds, whether that is settled, what contradicts it, what is private."""
    holds, conflict, local = found["holds"], found["conflict"], found["local"]
    rows = {"Subject": found["subject"], "Value": _value(holds) if holds else _without_value(conflict)}
    if holds:
        rows |= {"Kind": holds["kind"], "At": holds["at"], "Node": short_key(holds["node"]), "Span": holds["span"]}
        if holds["resolution"]:
            rows["Chosen by"] = holds["resolution"]
    if holds or conflict:
        rows["State"] = SETTLED if found["settled"] else PROVISIONAL
    print_rows(rows)
    if conflict:
        print_text("")
        print_text(_conflict_text(conflict))
        heads = conflict["heads"]
        print_table(
            ("span", "kind", "value", "at", "node"),
            [(each["span"], each["kind"], _value(each), each["at"], short_key(each["node"])) for each in heads],
        )
        if conflict["count"] > len(heads):
            print_text(f"and {conflict['count'] - len(heads):,} more")
    if local:
        print_text("")
        print_rows({"Private here": _value(local), "Span": local["span"]})


def conflict_word(conflict: "Conflict | None") -> str:
    """A conflict in a word, for tables."""
    if conflict is None:
        return ""
    return "open" if conflict["open"] else f"{conflict['count']} contradict"


def _row(found: "Subject") -> tuple[object, ...]:
    holds = found["holds"]
    word = conflict_word(found["conflict"]) or ("" if found["settled"] or not holds else "provisional")
    if holds is None:
        return found["subject"], "", "", "", word
    return found["subject"], holds["kind"], _value(holds), holds["at"], word


def _conflict_text(conflict: "Conflict") -> str:
    count = conflict["count"]
    if conflict["open"]:
        return f"{count} spans contradict each other; none holds until somebody decides ('lognode conflict resolve')."
    return (
        f"{count} spans contradict each other; the newest by id holds, as the policy '{conflict['policy']}' says, "
        "until somebody decides otherwise ('lognode conflict resolve')."
    )


def _without_value(conflict: "Conflict | None") -> str:
    return "none, until the conflict is resolved" if conflict else "none; what was said is taken back or has no effect"


def _value(said: "Said") -> str:
    """What a span says, on one line: its data, else its title."""
    value: Any = said.get("value")
    text = said["title"] or "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CELLS else text[: VALUE_CELLS - 3] + "..."
