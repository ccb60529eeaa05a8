"""Which entries of a feed are no spans of the timeline, whatever else is known, and why.

A function of the entry and of the times before it in its feed, so that every node finds the same. Knows neither
membership nor cuts. Invariant: what only a header shows is never asked of an entry whose header is withheld, and no
later entry depends on it.
"""

from typing import Final

from lognode.core.errors import CallerError
from lognode.core.span import VISIBILITIES, Entry, decode_header
from lognode.timeline.proof.tree import HASH_BYTES

WITHHELD: Final = "withheld"
HLC_FALLS: Final = "hlc.not_rising"
VISIBILITY_UNKNOWN: Final = "visibility.unknown"
HEADER_MALFORMED: Final = "header.malformed"  # or of an unknown version
_BYTES_32: Final = b"\x58\x20"
INERT_REASONS: Final = (WITHHELD, HLC_FALLS, VISIBILITY_UNKNOWN, HEADER_MALFORMED)


def inert_reason(entry: Entry, newest_hlc: int) -> str | None:
    """Why an entry is no span; None for one that is. `newest_hlc` is the highest of the feed before it, or -1.

    All entries count for that, void ones as well: of one that is withheld nobody can tell.
    """
    if entry.hlc <= newest_hlc:
        return HLC_FALLS
    if entry.visibility >= len(VISIBILITIES):
        return VISIBILITY_UNKNOWN
    if entry.is_withheld:
        return WITHHELD
    try:
        decode_header(entry.header)
    except CallerError:
        return HEADER_MALFORMED
    return None


def named_body(header: bytes) -> tuple[bytes, int] | None:
    """Hash and length of the body that a header names, also one of another version, whose end is laid out alike."""
    try:
        said = decode_header(header)
    except CallerError:
        return _named_by_end(header)
    return said.body_sha256, said.body_len


def _named_by_end(header: bytes) -> tuple[bytes, int] | None:
    for width, lead in ((1, None), (2, 0x18), (3, 0x19), (5, 0x1A)):
        at = len(header) - width
        if at < len(_BYTES_32) + HASH_BYTES or header[at - HASH_BYTES - 2 : at - HASH_BYTES] != _BYTES_32:
            continue
        if lead is None and header[at] < 0x18:
            return header[at - HASH_BYTES : at], header[at]
        if header[at] == lead:
            return header[at - HASH_BYTES : at], int.from_bytes(header[at + 1 :], "big")
    return None
