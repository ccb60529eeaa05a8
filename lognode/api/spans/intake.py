"""Drafts on their way from a connection to the writer, with one batch in flight.

While a batch is being committed the next one gathers; a full one makes the producer wait. Invariants: drafts
leave in the order in which they came, and no more than one batch waits here.
"""

from typing import Generic, TypeVar

import trio

from lognode.core.draft import Draft
from lognode.core.limits import GROUP_BYTES_MAX

Label = TypeVar("Label")


class Intake(Generic[Label]):
    """A batch that gathers. Each draft carries a label: by what its sender knows it."""

    def __init__(self, spans_max: int) -> None:
        self._spans_max = spans_max
        self._drafts: list[Draft] = []
        self._labels: list[Label] = []
        self._bytes = 0
        self._is_ripe = False
        self._is_closed = False
        self._changed = trio.Event()

    async def put(self, draft: Draft, label: Label) -> None:
        """Add a draft, once there is room."""
        while not self.put_nowait(draft, label):
            self.ripen()
            await self._changed.wait()

    def put_nowait(self, draft: Draft, label: Label) -> bool:
        """Add a draft if there is room for it; whether there was."""
        size = self._bytes + draft.content_bytes()
        if self._drafts and (len(self._drafts) >= self._spans_max or size > GROUP_BYTES_MAX):
            return False
        self._drafts.append(draft)
        self._labels.append(label)
        self._bytes = size
        return True

    def ripen(self) -> None:
        """Let the batch go although it is not full."""
        if self._drafts and not self._is_ripe:
            self._is_ripe = True
            self._wake()

    def close(self) -> None:
        """Nothing more will be put in."""
        self._is_closed = True
        self._wake()

    async def take(self) -> tuple[list[Draft], list[Label]]:
        """The batch, once it is ripe; empty at the end."""
        while not self._is_ripe and not self._is_closed:
            await self._changed.wait()
        batch = self._drafts, self._labels
        self._drafts, self._labels, self._bytes, self._is_ripe = [], [], 0, False
        self._wake()
        return batch

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
