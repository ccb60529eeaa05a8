"""The records of the benchmarks: small notes of about 257 bytes of JSON, and real web requests."""

import gzip
import hashlib
import json
from pathlib import Path

WEB_REQUESTS = Path(__file__).parents[2] / "tests/data/web-requests.ndjson.gz"


def note_lines(count: int) -> list[bytes]:
    """NDJSON lines of drafts; their data is 257 bytes of JSON on average."""
    return [json.dumps({"kind": data["type"], "data": data}, separators=(",", ":")).encode() for data in notes(count)]


def notes(count: int) -> list[dict[str, object]]:
    """What the notes hold."""
    found: list[dict[str, object]] = []
    for number in range(count):
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
