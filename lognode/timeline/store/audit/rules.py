"""What a database says of rule sets, against the spans by which they are published.

Invariant: it is looked at only where these are sound, so that nobody has to look for damage among its consequences.
"""

from collections.abc import Iterator
from typing import Any, Final

from lognode.timeline.store.audit.reading import Reading
from lognode.timeline.store.rules.publications import TELLING, told_publications

_FOUND: Final = "SELECT tenant, CAST(name AS BLOB), feed, seq, CAST(row AS INTEGER) AS place, hash FROM publications"
_END: Final = float("inf")


def check_publications(reading: Reading) -> None:
    """Report rows of publications that no span says, and those that are missing."""
    said = told_publications(_with_text(reading))
    found = reading.rows("publications", f"{_FOUND} ORDER BY place")
    one, other = next(said, None), next(found, None)
    while one is not None or other is not None:
        here, there = _row_of(one), _row_of(other)
        if here != there or one is None or other is None:
            is_stray = there < here
            detail = "no span says it" if is_stray else "missing"
            _report(reading, int(there if is_stray else here), detail)
        elif (one[0], one[1].encode(), *one[2:]) != other:
            _report(reading, int(here), "it is not what its span says")
        if here <= there:
            one = next(said, None)
        if there <= here:
            other = next(found, None)


def _with_text(reading: Reading) -> Iterator[tuple[Any, ...]]:
    """The spans that publish, by their rows; no TEXT is fetched as such."""
    sql = TELLING.replace("k.name,", "CAST(k.name AS BLOB),", 1)
    for *place, name, status, visibility, body in reading.rows("publications", f"{sql} ORDER BY s.row"):
        yield *place, name.decode(), status, visibility, body


def _row_of(item: tuple[Any, ...] | None) -> float:
    return _END if item is None else item[4]


def _report(reading: Reading, row: int, detail: str) -> None:
    reading.report.add("publication.wrong", None, f"publications row {row}", detail)
