"""Commands about conflicts: conflict list, conflict resolve, conflict policy."""

from typing import TYPE_CHECKING, Literal

from lognode.cli.commands.spans.subjects import conflict_word, show_subject
from lognode.cli.options import HERE, Flag, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text, say
from lognode.cli.view.nodes import choose

if TYPE_CHECKING:
    from lognode.client import Client


def conflict_list(*, open: Flag = False, target: Target = HERE) -> None:  # noqa: A002 - the option's name
    """List the subjects about which nodes contradict each other.

    Each said something of it without knowing what the other said.

    Parameters
    ----------
    open
        Only those of which nothing holds until somebody decides.

    Examples
    --------
    $ lognode conflict list
    $ lognode conflict list --open
    """
    with target.client() as client:
        found = list(client.conflicts(open_only=open))
    if target.json:
        print_json({"conflicts": found})
    elif not found:
        print_text("No conflict waits for a decision." if open else "Nothing is in conflict.")
    else:
        rows = [
            (each["subject"], conflict_word(each["conflict"]), each["holds"]["span"] if each["holds"] else "")
            for each in found
        ]
        print_table(("subject", "conflict", "holds"), rows)
        say("'lognode subject SUBJECT' shows what contradicts, 'lognode conflict resolve SUBJECT ID' decides.")


def conflict_resolve(subject: str, span_id: str, /, *, target: Target = HERE) -> None:
    """Decide a conflict: the chosen span holds, on all nodes.

    Any later span about the subject decides as well.

    Parameters
    ----------
    subject
        The subject in conflict.
    span_id
        The id of the span that is to hold, or its beginning, as 'lognode subject' shows it.

    Examples
    --------
    $ lognode conflict resolve 'order 17' 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0
    """
    with target.client() as client:
        answer = client.resolve(subject, _choose_head(client, subject, span_id))
    if target.json:
        print_json(answer)
        return
    print_rows({"Resolved by": answer["receipt"]["id"]})
    show_subject(answer["subject"])


def conflict_policy(
    kind: str | None = None, policy: Literal["latest", "manual"] | None = None, /, *, target: Target = HERE
) -> None:
    """Say or show how conflicts between spans of a kind are settled.

    With 'latest' the newest by id holds; every kind has that unless a root says otherwise. With 'manual' none holds
    until somebody decides.

    Parameters
    ----------
    kind
        The kind of the spans.
    policy
        What is to hold; takes a root member.

    Examples
    --------
    $ lognode conflict policy
    $ lognode conflict policy price.set manual
    """
    with target.client() as client:
        receipt = client.change_policy(kind, policy) if kind is not None and policy is not None else None
        answer = client.policies()
    shown = answer["policies"] if kind is None else {kind: answer["policies"].get(kind, answer["default"])}
    if target.json:
        print_json({**answer, "policies": shown, **({"receipt": receipt} if receipt else {})})
        return
    if not shown:
        print_text(f"Every kind has the policy '{answer['default']}'.")
    print_table(("kind", "policy"), sorted(shown.items()))


def _choose_head(client: "Client", subject: str, text: str) -> str:
    """The head of a conflict that an id, or the beginning of one, names; whatever else is left to the node."""
    conflict = client.subject(subject)["conflict"]
    heads = [each["span"] for each in conflict["heads"]] if conflict else []
    return choose(text, heads, "conflict.unknown_head") if heads else text
