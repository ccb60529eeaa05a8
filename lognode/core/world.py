"""The outside world as one value: time and randomness, injected so that tests and the simulator own it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """What pure code may ask of the outside."""

    now_ms: Callable[[], int]  # Unix milliseconds; may jump
    monotonic_s: Callable[[], float]  # never runs backwards
    random_bytes: Callable[[int], bytes]  # from the operating system's generator
