"""What becomes of messages: who reaches whom, how long it takes, what is lost and what comes twice.

Owns chance about messages, knows none of them.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

DELAY_MS_MAX: Final = 400
TIMEOUT_MS: Final = 2_000  # until a run gives up on an answer
_DELAY_MS_RARE: Final = 3_000  # later than anybody waits


class Network:
    """A network between machines by their numbers; in one piece until it is split."""

    def __init__(self, machines: int, random: Random) -> None:
        self._random = random
        self._sides = [0] * machines
        self._loss = random.choice((0.0, 0.02, 0.2))
        self._doubling = random.choice((0.0, 0.1))

    def add(self) -> None:
        """One more machine, which reaches all if all reach all."""
        self._sides.append(0)

    def split(self) -> list[int]:
        """Let some machines reach only some others; the side of each."""
        sides = self._random.randint(1, 3)
        self._sides = [self._random.randrange(sides) for _ in self._sides]
        return self._sides

    def join(self) -> None:
        """Let all reach all."""
        self._sides = [0] * len(self._sides)

    def reaches(self, one: int, other: int) -> bool:
        """Whether messages pass between two machines."""
        return self._sides[one] == self._sides[other]

    def deliveries(self, one: int, other: int) -> Sequence[int]:
        """After how many milliseconds a message arrives, each time that it does."""
        if not self.reaches(one, other):
            return ()
        return list(self._arrivals())

    def _arrivals(self) -> Iterator[int]:
        random = self._random
        if random.random() >= self._loss:
            yield random.randint(1, DELAY_MS_MAX)
        if random.random() < self._doubling:
            yield random.choice((random.randint(1, DELAY_MS_MAX), _DELAY_MS_RARE))
