"""When a peer that could not be reached is tried again: later each time, and by one task at a time.

Pure: told the time. Invariant: who may try has claimed the turn of all who wait for the same peer, so that a peer
shared in many tenants is not dialled for each.
"""

from lognode.core.limits import LINK_RETRY_S_MAX, LINK_RETRY_S_MIN

_DOUBLINGS_MAX = 16  # far beyond LINK_RETRY_S_MAX already


class Pace:
    """The turns at one peer. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.retry_at = 0.0
        self._tried_at = float("-inf")

    def claim(self, now_s: float, chance: float) -> bool:
        """Whether the caller may try now; the next may, unless it goes well, after another back-off."""
        if now_s < self.retry_at:
            return False
        self._tried_at = now_s
        if self.failures:
            self.retry_at = now_s + backoff_s(self.failures + 1, chance)
        return True

    def failed(self, now_s: float, chance: float) -> None:
        """A try ended in vain."""
        self.failures += 1
        self.retry_at = now_s + backoff_s(self.failures, chance)

    def succeeded(self) -> None:
        """The peer answered."""
        self.failures, self.retry_at = 0, 0.0

    def hasten(self, pause_s: float = 0.0) -> None:
        """Somebody, or something new, asks for a try now, or so many seconds after the last one."""
        self.retry_at = min(self.retry_at, self._tried_at + pause_s if pause_s else 0.0)


def backoff_s(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row; `chance`, in [0, 1), takes off up to half.

    Chance keeps nodes that lost each other at once from dialling at once.
    """
    longest = min(LINK_RETRY_S_MAX, LINK_RETRY_S_MIN * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
    return longest * (1 - chance / 2)
