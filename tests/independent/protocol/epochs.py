"""Whether a node may go on in its feed after a start. From docs/protocol.md, Epochs."""

from typing import Any

SYSTEM = "boot"
PLACES = ("machine", "database", "key")


def find(mark: dict[str, Any] | None, now: dict[str, Any], counted: int | None, held: int) -> str:
    """The row of the table: all is as it was, nobody can tell, or it is a copy."""
    if counted is not None and held < counted:
        return "moved"
    if mark is None:
        return "restarted"
    if any(mark[place] != now[place] for place in PLACES):
        return "moved"
    if mark[SYSTEM] != now[SYSTEM]:
        return "restarted"
    if mark["device"] != now["device"]:
        return "moved"
    return "plain" if counted is not None else "restarted"


def next_write(found: str, others: int, events: list[str], *, ahead: bool) -> str:
    """What the next write does: "goes on", "waits", or the reason of the feed that it opens."""
    is_copy = found == "moved"
    in_doubt = not is_copy and others > 0 and (found == "restarted" or ahead)
    opens = "continuity" if is_copy else None
    left = others
    for event in events:
        if event == "a member vouches":
            left -= 1
            in_doubt = in_doubt and left > 0
        elif opens is None and event == "told of a copy":
            opens = "cloned"
        elif opens is None and event == "it goes on":
            opens = "continuity" if in_doubt else "cloned"
        elif opens is None and in_doubt and event in {"two seconds", "another own feed"}:
            opens = "continuity"
    if opens:
        return opens
    if in_doubt:
        return "waits"
    if "cut" in events:
        return "cut"
    return "clock" if ahead else "goes on"
