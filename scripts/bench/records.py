"""The records of the benchmarks: small notes of about 257 bytes of JSON, and real web requests."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

CHUNK = 10_000  # made at a time, so that long histories fit into memory
WEB_REQUESTS = Path(__file__).parents[2] / "tests/data/web-requests.ndjson.gz"


def note_lines(count: int, start: int = 0) -> list[bytes]:
    """NDJSON lines of drafts; their data is 257 bytes of JSON on average."""
    return [
        json.dumps({"kind": data["type"], "data": data}, separators=(",", ":")).encode()
        for data in notes(start, start + count)
    ]


def mixed_lines(count: int) -> Iterator[bytes]:
    """Web requests and notes by turns, no two alike."""
    requests = cycle(web_lines())
    for start in range(0, count, CHUNK):
        for number, note in enumerate(note_lines(min(CHUNK, count - start), start), start):
            yield note if number % 2 else next(requests)[:-2] + b',"request":%d}}' % number


def notes(start: int, stop: int) -> list[dict[str, object]]:
    """What the notes hold."""
    found: list[dict[str, object]] = []
    for number in range(start, stop):
        digest = hashlib.sha256(f"0:{number}".encode()).hexdigest()
        found.append(
            {
                "type": "note" if number % 4 else "reading",
                "n": number,
                "author": "author-0",
                "ts": 1760000000000 + number * 1000,
                "text": (digest + digest[::-1] + digest)[:180],
            }
        )
    return found


def web_lines() -> list[bytes]:
    """9,999 web requests as NDJSON lines."""
    return gzip.decompress(WEB_REQUESTS.read_bytes()).splitlines()
