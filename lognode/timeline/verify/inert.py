"""Which entries of a feed are no spans of the timeline, whatever else is known, and why.

A function of the entry and of the times before it in its feed, so that every node finds the same. Knows neither
membership nor cuts. Invariant: what only a header shows is never asked of an entry whose header is withheld, and no
later entry depends on it.
"""

from typing import Final

from lognode.core.errors import CallerError
from lognode.core.span import VISIBILITIES, Entry, decode_header

WITHHELD: Final = "withheld"
HLC_FALLS: Final = "hlc.not_rising"
VISIBILITY_UNKNOWN: Final = "visibility.unknown"
HEADER_MALFORMED: Final = "header.malformed"  # or of an unknown version
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
