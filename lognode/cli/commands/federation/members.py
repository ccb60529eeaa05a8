"""Commands about the members of a tenant."""

from typing import TYPE_CHECKING, Final, Literal

from lognode.cli.options import HERE, Target
from lognode.cli.output import flush, is_terminal, print_json, print_rows, print_table, print_text, say, text_width
from lognode.cli.view.nodes import choose, short_key
from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.federation import Changed, Votes

WIDTH_OF_THE_REST: Final = 60


def member_list(*, target: Target = HERE) -> None:
    """List the nodes that are members of the tenant.

    The words are those that both ends showed when the node joined. Removed ones stand last; below them, votes to remove
    one that wait for others.

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
    for member in members:
        if (votes := member["removal_votes"]) is not None:
            print_text(f"\nTo remove {short_key(member['node'])}: {_votes_text(member['node'], votes)}")


def member_level(
    node: str, level: Literal["blocked", "observer", "trusted", "root"], /, *, target: Target = HERE
) -> None:
    """Give a member another level.

    A root changes those that joined through it, or through those that did, and nobody else.

    Parameters
    ----------
    node
        The member's LogLine ID, or the beginning of its key, as 'lognode member list' shows them.
    level
        Nothing at all (blocked), read (observer), write too (trusted), or decide about members too (root).

    Examples
    --------
    $ lognode member level s3m8k0qy root
    """
    with target.client() as client:
        changed = client.change_level(_choose_member(client, node), level)
    _show(changed, "It has that level already; nothing was changed.", as_json=target.json)


def member_remove(node: str, /, *, reason: str = "", target: Target = HERE) -> None:
    """Remove a member.

    What it wrote and this node holds stays; what comes later has no effect on any node. A root removes those that
    joined through it. For others this is a vote: it counts once more than half of the roots concerned gave theirs, each
    on its own node; 'lognode member list' shows how many are missing.

    Parameters
    ----------
    node
        The member's LogLine ID, or the beginning of its key, as 'lognode member list' shows them.
    reason
        Why, for whoever reads the timeline.

    Examples
    --------
    $ lognode member remove s3m8k0qy --reason 'laptop stolen'
    """
    with target.client() as client:
        changed = client.remove_member(_choose_member(client, node), reason=reason)
    before = "removed" if changed["removed"] else "voted on by this node"
    _show(changed, f"It was {before} before; nothing was changed.", as_json=target.json)


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
        Its LogLine ID, the beginning of its key, or its four words, as 'lognode member pending' shows them.

    Examples
    --------
    $ lognode member approve s3m8k0qy
    $ lognode member approve 'legal winner thank year'
    """
    with target.client() as client:
        pending = client.pending_members()
        words = {waiting["words"]: waiting["node"] for waiting in pending}
        waiting = (waiting["node"] for waiting in pending)
        chosen = words.get(" ".join(node.lower().split())) or choose(node, waiting, "member.not_waiting")
        levels = {waiting["node"]: waiting["level"] for waiting in pending}
        approved = client.approve_member(chosen)
    if target.json:
        print_json(approved)
    else:
        print_rows({"Member": approved["node"], "Level": levels[chosen], "Span": approved["admission"]})


def _short(node: str) -> str:
    """A node on one line with what is said of it: on a narrow terminal as much of its key as commands need."""
    is_narrow = is_terminal() and text_width() < len(node) + WIDTH_OF_THE_REST
    return short_key(node) if is_narrow else node


def _choose_member(client: "Client", text: str) -> str:
    """The member that is meant; one that was removed only where no other is.

    Raises CallerError member.unknown or usage.invalid.
    """
    members = client.members()
    standing = [member["node"] for member in members if not member["removed"]]
    try:
        return choose(text, standing, "member.unknown")
    except CallerError as error:
        if error.code != "member.unknown":
            raise
        return choose(text, (member["node"] for member in members), "member.unknown")


def _show(changed: "Changed", nothing: str, *, as_json: bool) -> None:
    """How a member stands now, and by which span."""
    if as_json:
        print_json(changed)
        return
    rows = {"Member": changed["node"], "Level": "removed" if changed["removed"] else changed["level"]}
    if changed["receipt"] is not None:
        rows["Span"] = changed["receipt"]["id"]
    votes = changed["removal_votes"]
    if votes is not None:
        rows["Votes"] = _votes_text(changed["node"], votes)
    print_rows(rows)
    flush()
    if changed["receipt"] is None:
        say(nothing)
    elif not changed["effective"]:
        say("Recorded as a vote: this node alone may not decide it. 'lognode member list' shows how many are missing.")


def _votes_text(member: str, votes: "Votes") -> str:
    """How many votes there are to remove a member, and whose could be those that are missing."""
    others = [short_key(node) for node in votes["entitled"] if node not in (*votes["voted"], member)]
    by = f" (by {', '.join(map(short_key, votes['voted']))})" if votes["voted"] else ""
    count, missing = len(votes["voted"]), votes["needed"] - len(votes["voted"])
    whose = f" by {'one of ' * (len(others) > 1)}{', '.join(others)}" if others else ""
    return f"{count} of {votes['needed']} votes{by}; {missing} more{whose}"
