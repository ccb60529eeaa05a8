"""Which clients of a recording make too many errors, found without lognode; and a denser recording made of one.

    python web_alarms.py denser RECORDING.ndjson.gz > DENSER.ndjson
    python web_alarms.py alarms DENSER.ndjson

A denser recording is the same requests in the same order, its time squeezed 12 times around its first request, in
which each request that failed comes four times, one second after the other: as of clients that try again three times.
An alarm is an error of a client with more than 20 errors, itself included, in the five minutes before and up to it,
by `data.occurred_at`, of those that came before it in the recording.
"""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SQUEEZED = 12
TRIES = 4
TRY_MS = 1000
ERRORS_MAX = 20
MINUTES_MS = 5 * 60 * 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(path: Path) -> list[dict[str, Any]]:
    """The requests of a recording."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def denser(requests: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The requests of a denser recording."""
    first_ms = None
    for request in requests:
        at_ms = unix_ms(request["data"]["occurred_at"])
        first_ms = at_ms if first_ms is None else first_ms
        squeezed_ms = first_ms + (at_ms - first_ms) // SQUEEZED
        for number in range(TRIES if is_error(request) else 1):
            data = {**request["data"], "occurred_at": text_of(squeezed_ms + number * TRY_MS)}
            yield {**request, "data": data}


def alarms(requests: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Client and time of each alarm, in the order of the recording."""
    found, times = [], dict[str, list[int]]()
    for request in filter(is_error, requests):
        client, at = request["data"]["client"], request["data"]["occurred_at"]
        at_ms = unix_ms(at)
        times.setdefault(client, []).append(at_ms)
        recent = [one for one in times[client] if at_ms - MINUTES_MS < one <= at_ms]
        if len(recent) > ERRORS_MAX:
            found.append((client, at))
    return found


def is_error(request: dict[str, Any]) -> bool:
    """Whether the server answered that it failed, or the client did."""
    return bool(request["data"]["status"] >= 400)


def unix_ms(text: str) -> int:
    """Unix ms of an RFC 3339 time."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def text_of(ms: int) -> str:
    """The RFC 3339 text of Unix ms."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    recording = read(Path(sys.argv[2]))
    if sys.argv[1] == "denser":
        sys.stdout.writelines(json.dumps(request) + "\n" for request in denser(recording))
    else:
        sys.stdout.writelines(f"{at} {client}\n" for client, at in alarms(recording))
