"""What the signals that come ask of the node: to end, or to read its settings again.

Owns the difference between a SIGHUP that somebody sent and the one of a terminal that was closed.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import trio

_TERMINAL: Final = "/dev/tty"


class Signals:
    """Iterate over what is asked: "stop" or "reload"."""

    def __init__(self, received: AsyncIterator[int], *, ends_with_terminal: bool) -> None:
        self._received = received
        self._ends_with_terminal = ends_with_terminal
        self._is_stopping = False

    def __aiter__(self) -> AsyncIterator[Literal["stop", "reload"]]:
        return self

    async def __anext__(self) -> Literal["stop", "reload"]:
        """What the next signal asks. Raises KeyboardInterrupt for a Ctrl-C while the node already stops."""
        number = await anext(self._received)
        if number == signal.SIGHUP and not (self._ends_with_terminal and not has_terminal()):
            return "reload"
        if self._is_stopping and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked again at the terminal: no more patience
        self._is_stopping = True
        return "stop"


@contextmanager
def receive_signals() -> Iterator[Signals]:
    """The signals of a node, from now to the end of the block."""
    # Under nohup the terminal may go; a service has none.
    ends_with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        yield Signals(received, ends_with_terminal=ends_with_terminal)


def has_terminal() -> bool:
    """Whether this process can reach a terminal that controls it."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
