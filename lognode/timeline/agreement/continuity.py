"""Whether a node that starts is the one that ran here last, or may be a copy of it from another time.

A copy that goes on in the feeds of its original signs a second history. So each start leaves a mark in the database of
where it ran, and the next one compares. Pure: what the machine says is handed in.
Source: docs/protocol.md, Epochs.
"""

from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from lognode.core.codec import decode_any_array, encode
from lognode.core.errors import CallerError
from lognode.timeline.state import CLONED, CONTINUITY, DOUBT

_SEAL_BYTES: Final = 16

Continuity = Literal["plain", "restarted", "moved"]
"""plain: nothing happened but a restart of the process. restarted: of the machine too, or nobody knows: its disk may be
of another time. moved: the files are others than those that ran last."""


class Mark(NamedTuple):
    """Where a node runs: identity of the running system and the machine, and of the files of database and key."""

    boot: str
    machine: str
    device: int
    database: int  # inode
    key: int  # when the key file was changed last: whoever copies over it changes that


def seal_mark(mark: Mark) -> bytes:
    """The mark as it is stored, with a seal by which damage is found."""
    said = encode(list(mark))
    return said + _seal(said)


def is_sealed(raw: bytes) -> bool:
    """Whether a stored mark is as it was written."""
    return raw[-_SEAL_BYTES:] == _seal(raw[:-_SEAL_BYTES])


def judge(before: bytes | None, now: Mark) -> Continuity:
    """What became of the node since `before` was stored; None where no version that leaves marks ran on it."""
    if before is None:
        return "restarted"
    then = _read(before)
    if then is None or (then.machine, then.database, then.key) != (now.machine, now.database, now.key):
        return "moved"
    if then.boot != now.boot:
        return "restarted"  # devices may be numbered anew
    return "plain" if then.device == now.device else "moved"


def look_back(found: Continuity, counted: int | None, held: int) -> Continuity:
    """The same in view of how many spans were committed here, as was counted beside the database, and are held.

    A database with fewer was set back, though its file is the same.
    """
    if counted is None:
        return "restarted" if found == "plain" else found
    return "moved" if counted > held else found


def ending_at_start(ending: str | None, found: Continuity, *, has_others: bool, is_ahead: bool) -> str | None:
    """Why nothing follows in the open feed for now, once a start found this; None where the node goes on in it.

    `ending` is what was said before. Whether the tenant has other members, and whether the feed's newest span is more
    than ten minutes ahead of now, say the other two.
    """
    if ending not in {None, DOUBT}:
        return ending
    if found == "moved":
        return CONTINUITY
    return DOUBT if has_others and (found != "plain" or is_ahead) else ending


def ending_once_taken(ending: str | None, *, goes_on: bool, has_new: bool) -> str | None:
    """The same after own feeds came from others: the open one goes on there, or others are new here."""
    if ending is None and goes_on:
        return CLONED
    return CONTINUITY if ending == DOUBT and (goes_on or has_new) else ending


def reason_to_open(ending: str | None, *, is_cut: bool, is_ahead: bool) -> str | None:
    """Why the next write opens a new feed; None where it goes on in the open one. Nobody is waited for any longer."""
    if ending:
        return CONTINUITY if ending == DOUBT else ending
    if is_cut:
        return "cut"
    return "clock" if is_ahead else None


def _read(raw: bytes) -> Mark | None:
    try:
        parts: list[Any] = decode_any_array(raw[:-_SEAL_BYTES])
        return Mark(*parts) if is_sealed(raw) else None
    except (CallerError, TypeError):
        return None


def _seal(said: bytes) -> bytes:
    return sha256(b"lognode continuity v1" + said).digest()[:_SEAL_BYTES]
