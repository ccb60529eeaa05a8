"""The messages of the vectors are read as they say by a reader that knows docs/protocol.md alone."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
import pytest

from lognode.core.errors import PeerError
from lognode.protocol.wire import decode_answer, decode_request

VECTORS: Any = json.loads((Path(__file__).parent.parent / "vectors" / "messages.json").read_bytes())
GOOD = [*VECTORS["requests"], *VECTORS["answers"]]
TYPES = {
    "Hello": 1, "Welcome": 2, "Refused": 4, "Expand": 17, "Expanded": 18, "ControlsWanted": 19, "Controls": 20,
    "Pull": 21, "Ranges": 22, "Push": 23, "Pushed": 24, "Follow": 25, "Pulse": 26,
}  # fmt: skip


class Reader:
    """Reads content from the front."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def take(self, size: int) -> bytes:
        taken, self.content = self.content[:size], self.content[size:]
        assert len(taken) == size
        return taken

    def records(self, count: int) -> list[tuple[int, int, int, int]]:
        found = []
        for _ in range(count):
            record = self.take(15)
            numbers = [int.from_bytes(record[a:b], "big") for a, b in ((0, 8), (8, 9), (9, 11), (11, 15))]
            found.append((numbers[0], numbers[1], numbers[2], numbers[3]))
        return found

    def entry(self, record: tuple[int, int, int, int]) -> dict[str, Any]:
        hlc, visibility, header, body = record
        said = {"hlc": hlc, "visibility": visibility, "header": self.take(header).hex()}
        return {**said, "body": None if body == 2**32 - 1 else self.take(body).hex()}

    def ranges(self, head: list[Any]) -> list[dict[str, Any]]:
        found = []
        for feed, start, count, note in head:
            signed = self.take(note).hex()
            entries = [self.entry(record) for record in self.records(count)]
            found.append({"feed": feed.hex(), "start": start, "entries": entries, "note": signed})
        return found

    def controls(self, head: list[Any]) -> list[dict[str, Any]]:
        found = []
        for feed, note, places in head:
            signed = self.take(note).hex()
            records = self.records(len(places) // 2)
            for seq, hashes, record in zip(places[::2], places[1::2], records, strict=True):
                entry = self.entry(record)
                path = [self.take(32).hex() for _ in range(hashes)]
                found.append({"feed": feed.hex(), "seq": seq, "entry": entry, "note": signed, "path": path})
        return found


def read(message: bytes) -> tuple[int, int, list[Any], Reader]:
    size = int.from_bytes(message[:4], "big")
    version, kind, *fields = cbor2.loads(message[4 : 4 + size])
    assert cbor2.dumps([version, kind, *fields]) == message[4 : 4 + size]
    return version, kind, fields, Reader(message[4 + size :])


def hexed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [hexed(part) for part in value] if isinstance(value, list) else value


def flat(value: Any) -> Any:
    """What a vector says, without names."""
    if isinstance(value, dict):
        return [flat(part) for name, part in value.items() if name != "is"]
    return [flat(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_message_says_what_the_vector_says(vector: Any) -> None:
    version, kind, fields, content = read(bytes.fromhex(vector["message"]))
    says = dict(vector["says"])
    assert kind == TYPES[says.pop("is")]
    if kind >= 16:
        assert version == says.pop("version", 1)
    else:
        assert version == 0
    for place, name in enumerate(says):
        if name == "ranges":
            fields[place] = [flat(part) for part in content.ranges(fields[place])]
        elif name == "foretold":
            fields[place] = [flat(part) for part in content.controls(fields[place])]
    assert hexed(fields) == flat(says)
    assert not content.content


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_a_refused_message_is_refused(vector: Any) -> None:
    decode = decode_request if vector["is"] == "request" else decode_answer
    with pytest.raises(PeerError) as refused:
        decode(bytes.fromhex(vector["message"]))
    assert refused.value.code == vector["code"]


def test_digests_of_addresses_are_as_the_document_says() -> None:
    for vector in VECTORS["addresses"]:
        text = "\n".join(vector["addresses"])
        assert vector["digest"] == (sha256(text.encode()).hexdigest()[:16] if text else "")


@pytest.mark.parametrize("vector", VECTORS["summaries"], ids=lambda vector: str(len(vector["heads"])))
def test_summaries_are_as_the_document_says(vector: Any) -> None:
    lines = {}
    for head in vector["heads"]:
        seqs = b"".join(seq.to_bytes(8, "big") for seq in head["foretold"])
        digest = sha256(seqs).digest()[:8] if seqs else b""
        root = bytes.fromhex(head["root"]) if head["size"] else b""
        lines[head["feed"]] = bytes.fromhex(head["feed"]) + head["size"].to_bytes(8, "big") + root + digest

    def fingerprint(prefix: str) -> str:
        below = b"".join(line for feed, line in sorted(lines.items()) if feed.startswith(prefix))
        return sha256(below).hexdigest()[:32] if below else ""

    assert vector["summary"] == sha256(b"".join(lines[feed] for feed in sorted(lines))).hexdigest()
    for node in (vector["node"], vector["below"]):
        below = [feed for feed in sorted(lines) if feed.startswith(node["prefix"])]
        if len(below) > 16:
            assert node["children"] == [fingerprint(node["prefix"] + digit) for digit in "0123456789abcdef"]
        else:
            assert [head["feed"] for head in node["heads"]] == below
    assert vector["fingerprint"] == fingerprint(vector["below"]["prefix"])
