"""Commands about invites: make one, list them, revoke one."""

import sys
from io import StringIO
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from lognode.cli.commands.federation.listeners import say_listeners
from lognode.cli.options import HERE, Duration, Flag, Target, duration
from lognode.cli.output import flush, is_terminal, print_json, print_rows, print_table, print_text, say, text_width
from lognode.cli.view.nodes import choose

DAY: Final = Duration(days=1)
QR_BORDER: Final = 2  # modules around it; scanners want some


def invite_create(
    *,
    level: Literal["observer", "trusted", "root"] = "trusted",
    uses: int = 1,
    expires: Annotated[Duration, Parameter(converter=duration, show_default=False)] = DAY,
    approve: Flag = False,
    target: Target = HERE,
) -> None:
    """Make an invite, by which another node joins this tenant.

    It is one line of text and a secret: who holds it can join. On a terminal it stands on the last line, below its QR
    code; elsewhere it is all of the output. Each node that joins shows four words, and so does 'lognode member list'.

    Parameters
    ----------
    level
        What the joiner may do: read, write, or decide about members.
    uses
        How many nodes may join by it.
    expires
        How long it lasts: 30m, 24h (the default) or 7d.
    approve
        Ask a person here before each joiner gets in: 'lognode member pending'.

    Examples
    --------
    $ lognode invite create
    $ lognode invite create --uses 10 --expires 7d --approve
    $ lognode invite create >invite.txt

    Notes
    -----
    Exit code 4 where this node is no root member of the tenant.
    """
    with target.client() as client:
        issued = client.create_invite(level=level, uses=uses, expires_s=int(expires.total_seconds()), approve=approve)
        say_listeners(client, {"peer", "join"})
    if target.json:
        print_json(issued)
        return
    own = issued["servers"][0]["addresses"]
    rows = {
        "Invite": issued["id"],
        "Level": level,
        "Uses": uses if not approve else f"{uses}, each to be approved here",
        "Expires": issued["expires_at"],
        "Joins at": ", ".join(own) or "no address; a joiner on the same link finds this node",
    }
    if is_terminal():
        _print_qr(issued["invite"])
        print_rows(rows)
        flush()
        say("On the other node: lognode join - and paste this line. Keep it secret.")
    print_text(issued["invite"])


def _print_qr(text: str) -> None:
    """The QR code of an invite, where the terminal is wide enough."""
    import segno

    # Upper case is a third shorter, and means the same.
    code = segno.make(text.upper(), error="l", micro=False)
    if code.symbol_size(border=QR_BORDER)[0] > text_width():
        say("The terminal is too narrow for a QR code.")
        return
    drawn = StringIO()
    code.terminal(drawn, border=QR_BORDER, compact=True)
    flush()
    sys.stdout.write(drawn.getvalue())


def invite_list(*, target: Target = HERE) -> None:
    """List the invites of the tenant, without their secrets.

    Each is open, expired, revoked or used up; the table says how many nodes joined by it, of how many that may.

    Examples
    --------
    $ lognode invite list
    """
    with target.client() as client:
        invites = client.invites()
    if target.json:
        print_json({"invites": invites})
    elif not invites:
        print_text("There are no invites; 'lognode invite create' makes one.")
    else:
        rows = [
            (
                invite["id"],
                invite["state"].replace("_", " "),
                invite["level"],
                f"{len(invite['joined'])} of {invite['uses']}",
                invite["expires_at"],
                "yes" if invite["approve"] else "no",
            )
            for invite in invites
        ]
        print_table(("invite", "state", "level", "used", "expires", "approve"), rows)


def invite_revoke(invite: str, /, *, target: Target = HERE) -> None:
    """Revoke an invite; who has joined stays a member.

    Parameters
    ----------
    invite
        Its id, as 'lognode invite list' shows it, or the beginning of that.

    Examples
    --------
    $ lognode invite revoke q8w2t
    """
    with target.client() as client:
        known = (known["id"] for known in client.invites())
        revoked = client.revoke_invite(choose(invite, known, "invite.unknown"))
    if target.json:
        print_json(revoked)
    else:
        print_text("Revoked." if revoked["receipt"] else "It was revoked before.")
