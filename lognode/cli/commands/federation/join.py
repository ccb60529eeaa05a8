"""`lognode join`: this node joins a tenant of others."""

import sys
import time
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lognode.cli.commands.federation.listeners import say_listeners
from lognode.cli.options import HERE, File, Flag, Target
from lognode.cli.output import flush, print_json, print_rows, say, told_if_stopped
from lognode.core.errors import CallerError
from lognode.core.limits import INVITE_CHARS_MAX

if TYPE_CHECKING:
    from lognode.client.answers.federation import Joined

EXIT_PENDING: Final = 75


def join(invite: File, /, *, no_wait: Flag = False, target: Target = HERE) -> int:
    """Join the tenant of others that an invite is for.

    The node asks the root members that the invite names, and then holds what they hold. If nothing was recorded in its
    default tenant, the joined one takes that name; else it says what --tenant to use. Joining again is harmless.

    Parameters
    ----------
    invite
        The line that 'lognode invite create' printed; - reads it from stdin, @FILE from a file.
    no_wait
        Where a person has to approve, do not wait for that.

    Examples
    --------
    $ lognode join - <invite.txt
    $ lognode join @invite.txt

    Notes
    -----
    An invite is a secret, and other users of the machine see the arguments of commands: prefer - or @FILE.

    Compare the four words with those that the other end shows, in 'lognode member pending' or 'lognode member list'.

    Exit code 0 when the node is a member, 4 when it was refused, 75 when no root member answers, or a person has to
    approve and --no-wait was given.
    """
    text = _read(invite)
    with target.client() as client, told_if_stopped("Stopped; run the command again to go on."):
        joined = client.join(text)
        if joined["state"] == "pending" and not no_wait:
            if not target.json:
                _show(joined)
                flush()
            say("Waiting for a person there: lognode member approve")
            while joined["state"] == "pending":
                time.sleep(joined["retry_s"] or 1)
                joined = client.join(text)
        if target.json:
            print_json(joined)
        else:
            _show(joined)
        if joined["state"] != "pending":
            flush()
            say_listeners(client, {"peer"})
    return EXIT_PENDING if joined["state"] == "pending" else 0


def _show(joined: "Joined") -> None:
    states = {"member": "joined", "syncing": "joined; its spans are on their way", "pending": "waits for approval"}
    is_old = joined["state"] == "member" and joined["server"] is None  # nobody had to be asked
    state = "this node is a member already" if is_old else states[joined["state"]]
    rows = {"Tenant": joined["tenant"], "State": state, "Level": joined["level"]}
    if joined["words"]:
        rows |= {"Asked": str(joined["server"]), "Words": joined["words"]}
    if joined["state"] != "pending":
        rows["Use"] = "it is the default tenant" if joined["name"] == "default" else f"--tenant {joined['name']}"
    print_rows(rows)


def _read(invite: str) -> str:
    """The text of an invite that is given, or named. No error shows it."""
    if invite == "-" and sys.stdin.isatty():
        return getpass("Paste the invite, which is not shown, and press Enter: ", sys.stderr)
    if invite == "-":
        return sys.stdin.buffer.read(INVITE_CHARS_MAX + 1).decode("utf-8", "replace")
    if not invite.startswith("@"):
        return invite
    try:
        with Path(invite[1:]).open("rb") as file:
            return file.read(INVITE_CHARS_MAX + 1).decode("utf-8", "replace")
    except OSError as error:
        raise CallerError("usage.invalid", f"{error.strerror}; behind @ stands a file", place=invite) from error
