"""The time of a world, for those who wait for it."""

from collections.abc import Callable

import trio


class Time(trio.abc.Clock):
    """Trio's clock, by which the simulator alone decides how late it is."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        """Seconds, as the world has them."""
        return self._now_ms() / 1000

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How long nothing is to happen until a deadline; time goes by between events alone."""
        return deadline - self.current_time()
