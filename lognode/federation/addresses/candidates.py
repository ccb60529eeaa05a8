"""Announcements that were heard, bounded, and the pace at which they are followed.

Knows no sockets. Invariants: whatever is announced, at most CANDIDATES_MAX are kept and one a second is tried; one
that is not tried costs nothing but its place.
"""

from collections.abc import Collection, Iterator

from lognode.core.limits import CANDIDATE_DIAL_S, CANDIDATES_MAX
from lognode.federation.addresses.announcement import Announcement


class Candidates:
    """Announcements by their names, those heard last at the end."""

    def __init__(self) -> None:
        self._heard: dict[str, Announcement] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def __iter__(self) -> Iterator[Announcement]:
        return iter(list(self._heard.values()))

    def put(self, name: str, announcement: Announcement, wanted: Collection[str]) -> bool:
        """Keep an announcement; False where there is no room, or nothing new in it.

        When full, one whose key prefix is not among the `wanted` makes room, the oldest of them; a wanted one is
        kept, so that a flood of strangers hides nobody.
        """
        if self._heard.get(name) == announcement:
            return False
        if name not in self._heard and len(self._heard) >= CANDIDATES_MAX:
            stranger = next((known for known, kept in self._heard.items() if kept.prefix not in wanted), None)
            if stranger is None:
                return False
            del self._heard[stranger]
        self._heard.pop(name, None)
        self._heard[name] = announcement
        return True

    def remove(self, name: str) -> None:
        """Drop an announcement that was taken back."""
        self._heard.pop(name, None)

    def clear(self) -> None:
        """Drop all, as when nobody listens any longer."""
        self._heard.clear()

    def matching(self, prefix: str) -> list[Announcement]:
        """Those that claim a key with this prefix, the newest first."""
        return [announcement for announcement in reversed(self._heard.values()) if announcement.prefix == prefix]


class Pace:
    """Lets one candidate be tried every CANDIDATE_DIAL_S seconds, however many ask."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next may be tried; 0 for now."""
        return max(0.0, self._next_s - now_s)

    def take(self, now_s: float) -> bool:
        """Whether one may be tried now; it is then taken to be."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + CANDIDATE_DIAL_S
        return True
