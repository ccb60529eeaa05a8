"""The command that says which of two spans knew of the other: relation."""

from typing import TYPE_CHECKING, Final

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, print_rows, print_text
from lognode.cli.view.nodes import short_key

if TYPE_CHECKING:
    from lognode.client.answers.agreement import Place, Relation

_SAID: Final = {
    "equal": "They are the same span.",
    "before": "The first is before the second: whoever wrote the second knew it.",
    "after": "The first is after the second: whoever wrote the first knew the second.",
    "concurrent": "They are concurrent: neither author knew the other span.",
}


def relation(span_id: str, other: str, /, *, target: Target = HERE) -> None:
    """Say which of two spans was known to the author of the other.

    That does not depend on any clock: it follows from what nodes signed of what they held.

    Parameters
    ----------
    span_id
        The id of the first span.
    other
        The id of the second.

    Examples
    --------
    $ lognode relation "$placed" "$paid"
    """
    with target.client() as client:
        answer = client.relation(span_id, other)
    if target.json:
        print_json(answer)
        return
    print_rows({"First": _shown(answer["span"]), "Second": _shown(answer["other"])})
    print_text(_verdict(answer))
    if answer["relation"] == "concurrent" and answer["lacking"]:
        print_text("This node lacks entries that their authors knew; with these the answer may be another.")


def _shown(place: "Place") -> str:
    return f"{place['id']} {place['kind']} at {place['at']} by node {short_key(place['node'])}"


def _verdict(answer: "Relation") -> str:
    if answer["relation"] is not None:
        return _SAID[answer["relation"]]
    void = answer["span"].get("void") or answer["other"].get("void")
    return f"There is no order: one of them is void ({void})."
