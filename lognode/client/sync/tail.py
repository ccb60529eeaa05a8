# Made from lognode/client/aio/tail.py by scripts/sync-client: change that file, then run the script.
"""A live tail: what arrives on a node, each span once, over as many connections as that takes.

Invariant: `cursor` stands behind the last span that was handed out, so a connection that ends at any point is
replaced by one that goes on there.
"""

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self, cast

from lognode.client.answers import Arrival, Span, parse_answer
from lognode.client.sse import EventParser
from lognode.client.sync.session import Params, Session
from lognode.core.errors import LognodeError, NodeFault


class Tail:
    """New spans without end, also across restarts of the node: none left out, none twice.

        with client.tail(Filter(kinds=("order.*",))) as tail:
            for arrival in tail:
                print(arrival.span["id"])

    Close it, or use it in a `with`; closing the client does so too. Iterate it in one place at a time.
    """

    def __init__(
        self,
        session: Session,
        path: str,
        params: Params,
        *,
        after: str | None,
        newest_cursor: Callable[[], str],
        on_lost: Callable[[LognodeError], None] | None,
        on_back: Callable[[], None] | None,
        on_close: Callable[["Tail"], None],
    ) -> None:
        self.cursor = after or ""
        """Where a tail goes on that is given it as `after`; empty until a tail from now on has begun."""
        self._session = session
        self._path = path
        self._params = params
        self._newest_cursor = newest_cursor
        self._on_lost = on_lost
        self._on_back = on_back
        self._on_close = on_close
        self._patience = session.patience()
        self._is_lost = False  # from the first failure to the next sign of life
        self._arrivals: Generator[Arrival, None, None] | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        self.cursor = self.cursor or self._newest_cursor()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Arrival:
        while not self._is_closed:
            # Put back only with a span: it has ended with any error, and where the wait was cancelled.
            arrivals, self._arrivals = self._arrivals or self._connect(), None
            try:
                arrival = next(arrivals)
            except LognodeError as error:
                self._recover(error)
            else:
                self._arrivals = arrivals
                return arrival
        raise StopIteration

    def close(self) -> None:
        """Close the connection, and end the iteration."""
        self._is_closed = True
        self._on_close(self)
        arrivals, self._arrivals = self._arrivals, None
        try:
            if arrivals is not None:
                arrivals.close()
        finally:
            self._session.close()

    def _connect(self) -> Generator[Arrival, None, None]:
        """What comes over one connection. Raises a LognodeError at its end."""
        self.cursor = self.cursor or self._newest_cursor()
        headers = [("Accept", "text/event-stream"), ("Last-Event-ID", self.cursor)]
        events = EventParser()
        with self._session.stream(self._path, self._params, headers) as chunks:
            for chunk in chunks:
                for event in events.feed(chunk):
                    self._hear()
                    self.cursor = event.id or self.cursor
                    if event.name == "span":
                        yield Arrival(self.cursor, cast("Span", parse_answer(event.data)))
        raise NodeFault("client.unreachable", "the node closed the connection")

    def _hear(self) -> None:
        """Take note that the node lives."""
        self._patience.renew()
        was_lost, self._is_lost = self._is_lost, False
        if was_lost and self._on_back is not None:
            self._on_back()

    def _recover(self, error: LognodeError) -> None:
        """Return when it is time for another connection; raise `error` when that is in vain."""
        if self._is_closed:
            return
        if not self._session.is_worth_another_try(error):
            raise error
        was_lost, self._is_lost = self._is_lost, True
        if not was_lost and self._on_lost is not None:
            self._on_lost(error)
        self._patience.wait(error)
