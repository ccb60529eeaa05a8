"""All spans that match, as an iterator that asks for one page at a time."""

import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from lognode.client.answers import Page, Span
from lognode.core.limits import PAGE_SPANS_MAX


class AsyncSpans:
    """Spans one by one; a page is asked for when its first span is. Holds no connection, so it needs no closing.

    After an error, iterating goes on where it was.
    """

    def __init__(
        self, page_at: Callable[[str | None, int], Awaitable[Page]], *, newest_first: bool, limit: int | None
    ) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}; it counts spans, and None means all")
        self._page_at = page_at
        self._newest_first = newest_first
        self._left = sys.maxsize if limit is None else limit
        self._held = deque[Span]()
        self._cursor: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Span:
        while not self._held:
            if self._left <= 0:
                raise StopAsyncIteration
            page = await self._page_at(self._cursor, min(self._left, PAGE_SPANS_MAX))
            self._held.extend(page["spans"])
            # A page of large spans is short, and others follow.
            self._left -= len(page["spans"])
            self._cursor = page["older"] if self._newest_first else page["newer"]
            if self._cursor is None or not (page["spans"] or page["more"]):
                self._left = 0
        return self._held.popleft()
