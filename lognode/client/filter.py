"""Which spans a caller asks for, and the URL parameters that say so."""

from datetime import datetime
from typing import Literal

import msgspec


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Any of `kinds` (`order.*` is every kind below order), all of `tags`, and every other field that is given.

    Without `merges`, none of the `timeline.merge` spans that nodes write by themselves.
    `known_by` and `at` go together: what that node knew when it wrote that span, or last before that.
    `since` <= span time < `until`, both with a time zone.
    `order` is that of the answer: timeline is span time, arrival the order in which this node took them in.
    """

    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    actor: str | None = None
    subject: str | None = None
    status: str | None = None
    visibility: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    caused_by: str | None = None
    origin: str | None = None
    contract: str | None = None
    workflow: str | None = None
    flow: str | None = None
    text: str | None = None
    known_by: str | None = None
    at: str | None = None
    merges: bool = True
    order: Literal["timeline", "arrival"] = "timeline"

    def __post_init__(self) -> None:
        """Raise TypeError for what no type checker saw and every node would take for something else."""
        texts: dict[str, object] = {"kinds": self.kinds, "tags": self.tags}
        for name, several in texts.items():
            if isinstance(several, str):
                raise TypeError(f"{name} is a tuple of texts, such as ({several!r},), not one text")
        moments: dict[str, object] = {"since": self.since, "until": self.until}
        for name, moment in moments.items():
            if moment is not None and not isinstance(moment, datetime):
                raise TypeError(f"{name} is a datetime with a time zone, not {type(moment).__name__}")

    def params(self, *, live: bool = False) -> list[tuple[str, str]]:
        """The URL parameters; a live tail has one order only, so it takes none."""
        named = [
            ("actor", self.actor),
            ("subject", self.subject),
            ("status", self.status),
            ("visibility", self.visibility),
            ("since", _text(self.since)),
            ("until", _text(self.until)),
            ("caused_by", self.caused_by),
            ("origin", self.origin),
            ("contract", self.contract),
            ("workflow", self.workflow),
            ("flow", self.flow),
            ("text", self.text),
            ("known_by", self.known_by),
            ("at", self.at),
            ("merges", None if self.merges else "false"),
            ("order", None if live else self.order),
        ]
        params = [("kind", kind) for kind in self.kinds] + [("tag", tag) for tag in self.tags]
        return params + [(name, value) for name, value in named if value is not None]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
