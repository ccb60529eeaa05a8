"""Commands about the members of a tenant."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

from lognode.cli.options import HERE, Target
from lognode.cli.output import is_terminal, print_json, print_rows, print_table, print_text, say, text_width
from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.client.answers.federation import Changed

SCHEME: Final = "logline-id://node/"
KEY_CHARS: Final = 12  # tell some members apart
WIDTH_OF_THE_REST: Final = 60


def member_list(*, target: Target = HERE) -> None:
    """List the nodes that are members of the tenant.

    The words are those that both ends showed when the node joined.

    Examples
    --------
    $ lognode member list
    """
    with target.client() as client:
        members = client.members()
    if target.json:
        print_json({"members": members})
        return
    rows = [
        (
            _short(member["node"]),
            "removed" if member["removed"] else member["level"],
            "this node" if member["self"] else "",
            member["words"] or "",
        )
        for member in members
    ]
    print_table(("node", "level", "", "words"), rows)


def member_level(
    node: str, level: Literal["blocked", "observer", "trusted", "root"], /, *, target: Target = HERE
) -> None:
    """Give a member another level.

    A root changes those that joined through it, or through those that did, and nobody else.

    Parameters
    ----------
    node
        The member's LogLine ID, or the beginning of its key.
    level
        Nothing at all, read, write, or decide about members.

    Examples
    --------
    $ lognode member level 06h0fd5j2g root
    """
    with target.client() as client:
        changed = client.change_level(_choose(node, (member["node"] for member in client.members())), level)
    _show(changed, f"It is {changed['level']} now.", as_json=target.json)


def member_remove(node: str, /, *, reason: str = "", target: Target = HERE) -> None:
    """Remove a member.

    What it wrote and this node holds stays; what comes later has no effect on any node. A root removes those that
    joined through it; for others this is a vote, and counts once enough roots gave it.

    Parameters
    ----------
    node
        The member's LogLine ID, or the beginning of its key.
    reason
        Why, for whoever reads the timeline.

    Examples
    --------
    $ lognode member remove 06h0fd5j2g --reason 'laptop stolen'
    """
    with target.client() as client:
        changed = client.remove_member(_choose(node, (member["node"] for member in client.members())), reason=reason)
    _show(changed, "Removed.", as_json=target.json)


def member_pending(*, target: Target = HERE) -> None:
    """List the nodes that wait at this node for approval.

    Compare the words with what the other node shows before you approve it.

    Examples
    --------
    $ lognode member pending
    """
    with target.client() as client:
        pending = client.pending_members()
    if target.json:
        print_json({"pending": pending})
    elif not pending:
        print_text("Nobody waits for approval at this node.")
    else:
        rows = [
            (_short(waiting["node"]), waiting["level"], waiting["words"], waiting["newest_at"]) for waiting in pending
        ]
        print_table(("node", "level", "words", "asked last"), rows)


def member_approve(node: str, /, *, target: Target = HERE) -> None:
    """Let a node in that waits for approval.

    Parameters
    ----------
    node
        Its LogLine ID, the beginning of its key, or its four words.

    Examples
    --------
    $ lognode member approve 06h0fd5j2g
    $ lognode member approve 'legal winner thank year'
    """
    with target.client() as client:
        pending = client.pending_members()
        words = {waiting["words"]: waiting["node"] for waiting in pending}
        chosen = words.get(" ".join(node.split())) or _choose(node, (waiting["node"] for waiting in pending))
        approved = client.approve_member(chosen)
    if target.json:
        print_json(approved)
    else:
        print_rows({"Member": approved["node"], "Admission": approved["admission"]})


def _short(node: str) -> str:
    """A node on one line with what is said of it: on a narrow terminal as much of its key as commands need."""
    is_narrow = is_terminal() and text_width() < len(node) + WIDTH_OF_THE_REST
    return node.removeprefix(SCHEME)[:KEY_CHARS] if is_narrow else node


def _choose(text: str, nodes: Iterable[str]) -> str:
    """The one node that is meant; what is none of them is left to the node to refuse."""
    key = text.removeprefix(SCHEME)
    found = [node for node in nodes if node.removeprefix(SCHEME).startswith(key)]
    if len(found) > 1:
        raise CallerError("usage.invalid", f"{len(found)} nodes begin with {key!r:.80}; write more of it")
    return found[0] if found else text


def _show(changed: "Changed", done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    elif changed["effective"]:
        print_text(done if changed["receipt"] else "There was nothing to change.")
    else:
        say("Recorded as a vote: this node alone may not decide it. It counts once enough roots do the same.")
