"""Comparing what a table holds with what it should hold, in bounded memory.

Both sides arrive in any order and are only counted: one sum of hashes for every 1,024 rows of spans. Where a
sum is not zero, the caller looks at those rows one by one. Invariant: equal sets always agree; Python keys its
hash of bytes anew in each process, so nobody can prepare a set that agrees with another.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

BUCKET_BITS: Final = 10


class Tally:
    """Sums over expected and found rows of one table. The last column of a row is the row of its span."""

    def __init__(self) -> None:
        self._sums: defaultdict[int, int] = defaultdict(int)

    def expect(self, items: Iterable[tuple[Any, ...]]) -> None:
        """Count rows that should be there."""
        sums = self._sums
        for item in items:
            sums[item[-1] >> BUCKET_BITS] += hash(item)

    def meet(self, items: Iterable[tuple[Any, ...]]) -> None:
        """Count rows that are there."""
        sums = self._sums
        for item in items:
            sums[item[-1] >> BUCKET_BITS] -= hash(item)

    def unequal(self) -> list[range]:
        """The rows of spans for which the two sides differ."""
        return [block_of(bucket << BUCKET_BITS) for bucket, total in sorted(self._sums.items()) if total]


def block_of(row: int) -> range:
    """The rows of spans that are summed together with `row`."""
    start = row >> BUCKET_BITS << BUCKET_BITS
    return range(start, start + (1 << BUCKET_BITS))
