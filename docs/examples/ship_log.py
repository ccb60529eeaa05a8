"""Follows a log file and records each of its lines once, also when it is killed, or the file rotated by renaming.

    python docs/examples/ship_log.py /var/log/app.log

It keeps no state of its own: where to go on stands in the newest span of the file, and a line that is sent again after
a crash has the same idempotency key. What a file that was rotated while this did not run still held is left out.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lognode.client import Client, Draft, Filter, connect

LINES_MAX = 1000  # of one request
PAUSE_S = 0.2


def place_after(client: Client, subject: str) -> tuple[int, int]:
    """The inode and offset behind the last line that was recorded of this file."""
    newest = Filter(kinds=("log.line",), subject=subject, order="arrival")
    for span in client.spans(newest, newest_first=True, limit=1):
        return span["data"]["inode"], span["data"]["end"]
    return 0, 0


def whole_lines(file: BinaryIO, subject: str, inode: int) -> Iterator[Draft]:
    """Up to LINES_MAX lines that have their end; half a line waits for the rest of it."""
    for _ in range(LINES_MAX):
        start = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(start)
            return
        yield Draft(
            kind="log.line",
            title=line.decode("utf-8", "replace").rstrip("\r\n"),
            subject=subject,
            data={"inode": inode, "end": file.tell()},
            idempotency_key=f"{subject} {inode} {start}",
        )


def has_successor(path: Path, inode: int) -> bool:
    """Whether another file has the name now, and somebody writes to it."""
    return path.exists() and path.stat().st_ino != inode and path.stat().st_size > 0


def ship(client: Client, path: Path, *, once: bool) -> None:
    subject = f"log:{path.resolve()}"
    known, end = place_after(client, subject)
    while True:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(end if inode == known else 0)
            while True:
                # Asked before reading: whoever wrote to the new file has written its last to this one.
                is_rotated = has_successor(path, inode)
                drafts = list(whole_lines(file, subject, inode))
                if drafts:
                    client.append_batch(drafts)
                elif is_rotated:
                    break
                elif once:
                    return
                else:
                    time.sleep(PAUSE_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record each line of a growing log file once.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--once", action="store_true", help="end at the end of the file")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt), connect(patience_s=float("inf")) as client:
        ship(client, arguments.file, once=arguments.once)
