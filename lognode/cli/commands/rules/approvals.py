"""Commands about what waits for approval: approval list, show, grant, deny."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter, validators

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text, say
from lognode.cli.view.nodes import choose, short_key

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.approvals import Answered, Approval

LIMIT = 50
WHOLE_ID = 39
AnyState = Literal["waiting", "written", "denied", "expired", "rejected"]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def approval_list(*, state: AnyState | None = None, limit: Count = LIMIT, target: Target = HERE) -> None:
    """List what waits for approval, and what did, the newest first.

    Parameters
    ----------
    state
        Only what is so.
    limit
        How many at most.

    Examples
    --------
    $ lognode approval list --state waiting
    """
    with target.client() as client:
        found = list(islice(client.approvals(state=state), limit + 1))
    shown = found[:limit]
    if target.json:
        print_json({"approvals": shown})
        return
    if not shown:
        print_text("Nothing waits for approval." if state in (None, "waiting") else f"Nothing is {state}.")
        return
    columns = ("approval", "state", "approved", "until", "node", "rule", "asks")
    print_table(columns, [_row(approval) for approval in shown])
    if len(found) > limit:
        say(f"There are more; --limit {limit * 10} shows them.")
    if any(approval["state"] == "waiting" for approval in shown):
        say("'lognode approval show APPROVAL' shows one, 'lognode approval grant APPROVAL' approves it.")


def approval_show(approval: str, /, *, target: Target = HERE) -> None:
    """Show what waits for approval, and who said what about it.

    Parameters
    ----------
    approval
        Its id, or the beginning of it.

    Examples
    --------
    $ lognode approval show 0csk
    """
    with target.client() as client:
        found = client.approval(_id_of(client, approval))
    _show(found, target)


def approval_grant(approval: str, /, *, note: str = "", target: Target = HERE) -> None:
    """Approve what waits, in the name of this node.

    It takes a root member; where several have to approve, none of them is the node that wants it. Once enough have, the
    node that wants it judges it anew and writes it.

    Parameters
    ----------
    approval
        Its id, or the beginning of it.
    note
        What goes with it, for all members to read.

    Examples
    --------
    $ lognode approval grant 0csk --note "seen the invoice"

    Notes
    -----
    Exit code 4 where this node may not approve it, 5 where it waits no more.
    """
    with target.client() as client:
        answered = client.grant(_id_of(client, approval), note=note)
    _show_answer(answered, "Approved", target)


def approval_deny(approval: str, /, *, note: str = "", target: Target = HERE) -> None:
    """Deny what waits, in the name of this node: it waits no more.

    It takes a root member, or the node that wants it.

    Parameters
    ----------
    approval
        Its id, or the beginning of it.
    note
        What goes with it, for all members to read.

    Examples
    --------
    $ lognode approval deny 0csk --note "no invoice"

    Notes
    -----
    Exit code 4 where this node may not deny it, 5 where it waits no more.
    """
    with target.client() as client:
        answered = client.deny(_id_of(client, approval), note=note)
    _show_answer(answered, "Denied", target)


def _id_of(client: "Client", text: str) -> str:
    """The id of an approval by its beginning. Raises CallerError approval.unknown or usage.invalid."""
    if len(text) >= WHOLE_ID:
        return text
    return choose(text, [approval["id"] for approval in client.approvals()], "approval.unknown")


def _row(approval: "Approval") -> tuple[object, ...]:
    return (
        approval["id"],
        approval["state"],
        _approved(approval),
        approval["until"][:19],
        short_key(approval["node"]),
        f"{approval['set']}/{approval['rule']}",
        approval["text"],
    )


def _approved(approval: "Approval") -> str:
    count = sum(answer["counts"] for answer in approval["answers"])
    return f"{count} of {approval['of']}"


def _show(approval: "Approval", target: Target) -> None:
    if target.json:
        print_json(approval)
        return
    rows: dict[str, Any] = {
        "Approval": approval["id"],
        "State": approval["state"],
        "Asks": approval["text"],
        "Rule": f"{approval['set']}/{approval['rule']}",
        "By": approval["node"],
        "At": approval["at"],
        "Until": approval["until"],
        "Approved": f"{_approved(approval)}, role {approval['role']}",
    }
    if approval["span"] is not None:
        rows["Written"] = approval["span"]
    print_rows(rows)
    if not approval["sound"]:
        say("What is shown is not what its node says that it writes: it cannot be approved.")
    for answer in approval["answers"]:
        word = "denied" if answer["says"] == "deny" else "approved" if answer["counts"] else "approved, not counted"
        print_text(f"{answer['at'][:19]} {short_key(answer['node'])} {word} {answer['note']}".rstrip())
    print_text(msgspec.json.format(msgspec.json.encode(approval["draft"]), indent=2).decode())


def _show_answer(answered: "Answered", word: str, target: Target) -> None:
    if target.json:
        print_json(answered)
        return
    approval = answered["approval"]
    print_rows({word: approval["id"], "By": answered["receipt"]["id"], "Approved": _approved(approval)})
    if answered["receipt"]["duplicate"]:
        say("This node had said so already.")
