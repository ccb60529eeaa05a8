"""Prints each new span as it arrives; stopped and started again, it goes on where it was and leaves none out.

    python docs/examples/follow.py 'order.*' --cursor follow.cursor

The cursor is saved after a span was handled. A crash in between handles that one span again, so what stands in place
of `print` should not mind.
"""

import argparse
import signal
import sys
from pathlib import Path

import trio

from lognode.client import Filter, LognodeError, connect_async


def load_cursor(path: Path) -> str | None:
    return path.read_text("utf-8").strip() if path.exists() else None


def save_cursor(path: Path, cursor: str) -> None:
    # Renamed into place, so that a crash leaves the old cursor or the new one, never half of it.
    new = path.with_name(path.name + ".new")
    new.write_text(cursor + "\n", "utf-8")
    new.replace(path)


def say_lost(error: LognodeError) -> None:
    print(f"waiting for the node: {error.detail}", file=sys.stderr)


def say_back() -> None:
    print("the node is back", file=sys.stderr)


async def follow(kinds: tuple[str, ...], cursor_file: Path) -> None:
    where, after = Filter(kinds=kinds), load_cursor(cursor_file)
    # Patience without end: a node that is down over night is waited for.
    client = connect_async(patience_s=float("inf"))
    async with client, client.tail(where, after=after, on_lost=say_lost, on_back=say_back) as tail:
        # The first run begins now; whatever comes from here on is for it or for the next one.
        save_cursor(cursor_file, tail.cursor)
        async for cursor, span in tail:
            print(span["at"], span["kind"], span.get("title"), flush=True)
            save_cursor(cursor_file, cursor)


async def main(kinds: tuple[str, ...], cursor_file: Path) -> None:
    """Follow until SIGINT or SIGTERM, which end a wait, never the handling of a span."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, kinds, cursor_file)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print each new span once, across restarts.")
    parser.add_argument("kinds", nargs="*", help="such as order.paid or order.*; all without any")
    parser.add_argument("--cursor", type=Path, default=Path("follow.cursor"), help="file that keeps the place")
    arguments = parser.parse_args()
    trio.run(main, tuple(arguments.kinds), arguments.cursor)
