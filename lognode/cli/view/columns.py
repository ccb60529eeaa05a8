"""Spans in columns, one a line, as wide as the terminal.

A narrow terminal has no room for the 39 cells of an id: there kind and title get them.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from lognode.cli.output import safe
from lognode.cli.view.span import ID_CELLS, about_text
from lognode.client.answers import Span

ID_WIDTH_MIN: Final = 100  # of a terminal that ids are shown on
KIND_CELLS_MIN: Final = 12
TIME_CELLS: Final = {"relative": 8, "clock": 8, "local": 19, "utc": 20}  # the forms of time, and how wide they are
_STEPS: Final = ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h"), (30 * 86400, 86400, "d"))


class Columns:
    """Lines for spans: time, kind, what it is about and, where there is room, the id.

    The column of kinds is as wide as the widest kind that was there so far, up to a third of the room.
    """

    def __init__(self, width: int, time: str, now: Callable[[], datetime]) -> None:
        self._time = time
        self._now = now
        self._id_cells = ID_CELLS + 1 if width >= ID_WIDTH_MIN else 0
        self._room = max(width - TIME_CELLS[time] - self._id_cells - 2, 1)  # for kind and what it is about
        self._kind_cells = min(KIND_CELLS_MIN, self._room // 3)

    @property
    def has_ids(self) -> bool:
        """Whether the terminal is wide enough for ids."""
        return self._id_cells > 0

    def fit(self, spans: Iterable[Span]) -> None:
        """Make room for the kinds of these spans."""
        widest = max((len(span["kind"]) for span in spans), default=0)
        self._kind_cells = max(self._kind_cells, min(widest, self._room // 3))

    def line(self, span: Span) -> Text:
        """A span on one line."""
        self.fit([span])
        kind, about = Text(safe(span["kind"]), "cyan"), about_text(span)
        kind.truncate(self._kind_cells, overflow="ellipsis", pad=True)
        about.truncate(max(self._room - self._kind_cells, 1), overflow="ellipsis", pad=self.has_ids)
        moment = Text(time_text(span["at"], self._time, self._now()).rjust(TIME_CELLS[self._time]), "green")
        ids = [Text(span["id"], "dim")] if self.has_ids else []
        return Text(" ").join((moment, kind, about, *ids))


def time_text(at: str, form: str, now: datetime) -> str:
    """An RFC 3339 time as the column shows it; `form` is a key of TIME_CELLS."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return at[: TIME_CELLS[form]]
    if form == "relative":
        return _ago(moment, now)
    if form == "utc":
        return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    here = moment.astimezone()
    if form == "local":
        return f"{here:%Y-%m-%d %H:%M:%S}"
    return f"{here:%H:%M:%S}" if here.date() == now.astimezone().date() else f"{here:%d %b}"


def _ago(moment: datetime, now: datetime) -> str:
    """How long before `now` it was: 12s, 5m, 3h, 2d, and beyond 30 days its month."""
    seconds = int((now - moment).total_seconds())
    for bound, unit, letter in _STEPS:
        if seconds < bound:
            return f"{max(seconds, 0) // unit}{letter} ago"
    return f"{moment:%Y-%m}"
