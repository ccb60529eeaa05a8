"""What one span adds to a window, and moments as rules read them.

Invariant: whoever counts a window, at whatever time, takes the same samples from the same spans.
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import cbor2

from lognode.core.limits import SAMPLE_KEY_BYTES_MAX
from lognode.rules.conditions.paths import follow
from lognode.rules.document import Path, Window, matches_kind
from lognode.rules.evaluation.facts import Facts

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MS_MAX: Final = 253_402_300_799_999  # the end of year 9999
# Spelt out, since what Python takes for ISO 8601 changes with its versions, and nodes must agree.
_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
FLOAT_MAX: Final = sys.float_info.max  # what sums of more come to
_MOMENT_CHARS_MAX: Final = 64
_UNREAD: Final[Any] = object()


class Sample(NamedTuple):
    """One span's part in a window: the key it counts for, when, and what: a number to sum, or bytes to tell apart."""

    key: bytes
    at_ms: int
    value: int | float | bytes | None = None


def extract(window: Window, facts: Facts) -> Sample | None:
    """What the span adds to the window; None where it is none of its kinds, or lacks key, time or value."""
    found: Sample | None = facts.samples.get(window.digest, _UNREAD)
    if found is _UNREAD:
        found = facts.samples[window.digest] = _extract(window, facts)
    return found


def _extract(window: Window, facts: Facts) -> Sample | None:
    place = sample_at(window, facts) if matches_kind(window.kinds, facts.kind) else None
    if place is None or window.of is None or window.measure == "count":
        return place
    found = _read(window.of, facts)
    if window.measure == "distinct":
        value = scalar_bytes(found)
        return None if value is None else place._replace(value=value)
    return place._replace(value=found) if found.__class__ is int or found.__class__ is float else None


def sample_at(window: Window, facts: Facts) -> Sample | None:
    """Where a rule reads the window for this span, whatever its kind; None where the span has no key or time."""
    key = scalar_bytes(_read(window.by, facts))
    if key is None:
        return None
    at_ms = facts.time_ms if window.at is None else moment_ms(_read(window.at, facts))
    return None if at_ms is None else Sample(key, at_ms)


def _read(path: Path, facts: Facts) -> Any:
    return follow(facts.fact(path.fact), path.segments[1:])


def scalar_bytes(value: Any) -> bytes | None:
    """Bytes that are equal for equal scalars, 1 and 1.0 among them; None for null, lists and maps.

    They are the scalar's CBOR, or a hash of it where that is long.
    """
    if value is None or value.__class__ is list or value.__class__ is dict:
        return None
    if value.__class__ is float and value.is_integer() and abs(value) < 2.0**63:
        value = int(value)
    encoded = cbor2.dumps(value)
    return encoded if len(encoded) <= SAMPLE_KEY_BYTES_MAX else b"\xff" + sha256(encoded).digest()


def moment_ms(value: Any) -> int | None:
    """Unix milliseconds of RFC 3339 text, or of a whole number that is them already; None for anything else."""
    if value.__class__ is int:
        return value if abs(value) <= _MS_MAX else None
    found = _MOMENT.fullmatch(value) if value.__class__ is str and len(value) <= _MOMENT_CHARS_MAX else None
    if found is None:
        return None
    date, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
        return (moment - _EPOCH) // _MILLISECOND + int((fraction or "")[:3].ljust(3, "0"))
    except (ValueError, OverflowError):
        return None
