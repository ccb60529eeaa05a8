"""Reads headers and bodies, and what follows from them. From docs/protocol.md, Record, Idempotency keys and Clocks."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.independent.protocol.cbor import PARTS_MAX, need, read_array
from tests.independent.protocol.fields import as_bytes, as_int, as_kind, as_list, as_text, or_null, sha256

HEADER_BYTES_MAX = 1_024
BODY_BYTES_MAX = 1_048_576
AHEAD_MS = 600_000


@dataclass(frozen=True)
class Header:
    kind: str
    actor: bytes | None
    status: int
    caused_by: bytes | None
    body_sha256: bytes
    body_len: int


@dataclass(frozen=True)
class Body:
    data: bytes
    subject: str | None
    annotations: bytes
    elements: list[object]


def as_logline(value: object) -> bytes:
    logline = as_bytes(value, 33)
    need(1 <= logline[0] <= 5, "an unknown kind of LogLine ID")
    return logline


def as_span_id(value: object) -> bytes:
    return as_bytes(value, 24)


def read_header(data: bytes) -> Header:
    need(len(data) <= HEADER_BYTES_MAX, "a header that is too long")
    version, kind, actor, status, caused_by, body_sha256, body_len = read_array(data, 7)
    as_int(version, 1, 1)
    return Header(
        as_kind(kind),
        or_null(actor, as_logline),
        as_int(status, 0, 1),
        or_null(caused_by, as_span_id),
        as_bytes(body_sha256, 32),
        as_int(body_len, 0, BODY_BYTES_MAX),
    )


def read_body(data: bytes) -> Body:
    need(len(data) <= BODY_BYTES_MAX, "a body that is too long")
    elements = read_array(data, 13, PARTS_MAX)
    as_bytes(elements[0], 16)
    texts = [or_null(elements[place], as_text) for place in (1, 4, 5, 6, 7)]
    check_tags(elements[3])
    for id_ in as_list(elements[8]):
        as_span_id(id_)
    values = [as_bytes(elements[place]) for place in (2, 9, 10)]
    or_null(elements[11], lambda one: as_bytes(one, 64))
    or_null(elements[12], lambda one: as_bytes(one, 16))
    return Body(values[0], texts[1], values[2], elements)


def check_tags(value: object) -> list[str]:
    tags = [as_text(tag) for tag in as_list(value)]
    need([tag.encode() for tag in tags] == sorted({tag.encode() for tag in tags}), "tags not sorted, or one twice")
    return tags


def entry_of(feed: bytes, seq: int, hlc: int, visibility: int, header_hash: bytes) -> bytes:
    return feed + seq.to_bytes(8, "big") + hlc.to_bytes(8, "big") + bytes([visibility]) + header_hash


def idem_of(tenant: bytes, principal: bytes, key: str) -> bytes:
    return sha256(tenant, principal, key.encode())[:16]


def next_hlc(last: int, now_ms: int) -> int:
    return max(now_ms << 16, last + 1)


def is_ahead(hlc: int, now_ms: int) -> bool:
    return (hlc >> 16) - now_ms > AHEAD_MS


def state_hash(feeds: Iterable[tuple[bytes, int, bytes]]) -> bytes:
    lines = [feed + size.to_bytes(8, "big") + root for feed, size, root in sorted(feeds) if size]
    return sha256(*lines)
