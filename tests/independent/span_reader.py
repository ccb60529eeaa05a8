"""Reads one lognode span from its stub, header and body. Shares no code with lognode, and must never import it.

Written from the text of the design's section 4 ("The record") alone, with its own CBOR decoder, to check the
vectors in tests/vectors. Knows no store, no tree and no membership: it decodes strictly, recomputes what can
be recomputed from one span, and checks the self-signatures of `feed.open` and `tenant.create`.

Invariant: the arrays of header, body and control data contain neither maps nor floats, so a strict decoder
(shortest heads, definite lengths) leaves each value one spelling. What was signed, "the CBOR of the array of
the elements that precede", is therefore an array head and the bytes received, and nothing is re-encoded.

Not judged: anything that needs another span, the reserved kinds, and `actor_signature` (its length only).
Where the text is silent: the outermost array or map has depth 1; `after` may be empty; absent data, metadata
or annotations is an empty byte string; `reason` in `feed.open` is text or null.
"""

import hashlib
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

DEPTH_MAX = 16
HEADER_BYTES_MAX = 1_024
BODY_BYTES_MAX = 1_048_576
KIND_BYTES_MAX = 64
SPAN_ID_BYTES = 24
HLC_MAX = 2**63 - 1
PUBLIC = 2
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
KIND = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
FLOATS = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}  # additional information: width, struct format
SIMPLE = {20: False, 21: True, 22: None}


class Unreadable(ValueError):
    """The bytes break a rule of the record; the text says which."""


class Element(NamedTuple):
    """One element of a top-level array: its value, and its bytes as received."""

    value: object
    raw: bytes


@dataclass(frozen=True)
class Stub:
    """What every member holds of a span, with the place of the span in its feed."""

    feed_id: bytes
    seq: int
    hlc: int
    visibility: int


@dataclass(frozen=True)
class Header:
    version: int
    kind: str
    actor: bytes | None
    status: int
    caused_by: bytes | None
    body_sha256: bytes
    body_len: int


@dataclass(frozen=True)
class Body:
    nonce: bytes
    title: str | None
    data: bytes
    tags: tuple[str, ...]
    subject: str | None
    contract_id: str | None
    workflow_id: str | None
    flow_id: str | None
    related: tuple[bytes, ...]
    metadata: bytes
    annotations: bytes
    actor_signature: bytes | None
    idem: bytes | None


@dataclass(frozen=True)
class Span:
    stub: Stub
    header: Header
    body: Body
    entry: bytes
    leaf_hash: bytes
    span_id: str


@dataclass(frozen=True)
class FeedOpen:
    after: tuple[bytes, ...]
    node_key: bytes
    nonce: bytes
    log_key: bytes
    parent: tuple[bytes, int, bytes] | None  # feed id, size, root
    reason: str | None


@dataclass(frozen=True)
class TenantCreate:
    after: tuple[bytes, ...]
    format_version: int
    nonce: bytes
    node_key: bytes
    tls_certificate: bytes
    witness_key: bytes


class Decoder:
    """A strict reader of RFC 8949: no indefinite lengths, no tags, shortest heads, no trailing bytes.

    `json` widens arrays, integers, byte strings, text, booleans and null by maps with unique text keys
    and finite floats of any width, forbids byte strings, and holds integers to 64 bits with sign.
    """

    def __init__(self, data: bytes, *, json: bool = False) -> None:
        self.data = data
        self.at = 0
        self.json = json

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Unreadable("CBOR ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self) -> tuple[int, int, int]:
        """Major type, additional information, and the argument (for floats, not yet read: 0)."""
        initial = self.take(1)[0]
        major, info = initial >> 5, initial & 0x1F
        if major == 7 or info < 24:
            return major, info, info
        if info > 27:
            raise Unreadable("CBOR with an indefinite length or a reserved head")
        width = 1 << (info - 24)
        argument = int.from_bytes(self.take(width), "big")
        if argument < (24 if width == 1 else 1 << (4 * width)):
            raise Unreadable("CBOR head longer than needed")
        return major, info, argument

    def item(self, depth: int = 1) -> object:
        major, info, argument = self.head()
        if major in (0, 1):
            return self.integer(-1 - argument if major == 1 else argument)
        if major == 2 and not self.json:
            return self.take(argument)
        if major == 3:
            return decode_text(self.take(argument))
        if major in (4, 5) and depth > DEPTH_MAX:
            raise Unreadable(f"CBOR deeper than {DEPTH_MAX}")
        if major == 4:
            return [self.item(depth + 1) for _ in range(argument)]
        if major == 5 and self.json:
            return self.mapping(argument, depth)
        if major == 7:
            return self.simple(info)
        raise Unreadable(f"CBOR major type {major} has no place here")

    def integer(self, value: int) -> int:
        if self.json and not -(2**63) <= value < 2**63:
            raise Unreadable("an integer beyond int64")
        return value

    def mapping(self, count: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(count):
            key = self.item(depth + 1)
            if not isinstance(key, str) or key in found:
                raise Unreadable("a map key that is not text or comes twice")
            found[key] = self.item(depth + 1)
        return found

    def simple(self, info: int) -> object:
        if info in SIMPLE:
            return SIMPLE[info]
        if not self.json or info not in FLOATS:
            raise Unreadable("a CBOR simple value or float that has no place here")
        width, form = FLOATS[info]
        (value,) = struct.unpack(form, self.take(width))
        if not math.isfinite(value):
            raise Unreadable("a float that is not finite")
        return float(value)

    def end(self) -> None:
        if self.at != len(self.data):
            raise Unreadable("bytes after the CBOR item")


def decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("text that is not UTF-8") from error


def read_array(data: bytes, *, count: int) -> list[Element]:
    """The elements of a top-level array of exactly `count`, each with its bytes."""
    decoder = Decoder(data)
    major, _, argument = decoder.head()
    if major != 4 or argument != count:
        raise Unreadable(f"not an array of {count} elements")
    elements = []
    for _ in range(count):
        start = decoder.at
        value = decoder.item(2)
        elements.append(Element(value, data[start : decoder.at]))
    decoder.end()
    return elements


def read_json_types(data: bytes) -> object:
    """The value of an author's data, metadata or annotations; absent (no bytes) reads as None."""
    if not data:
        return None
    decoder = Decoder(data, json=True)
    value = decoder.item()
    decoder.end()
    return value


def as_bytes(value: object, count: int | None = None) -> bytes:
    if not isinstance(value, bytes) or count not in (None, len(value)):
        raise Unreadable(f"not a byte string of {'any' if count is None else count} bytes: {value!r}")
    return value


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"not text: {value!r}")
    return value


def as_uint(value: object, maximum: int = 2**64 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise Unreadable(f"not an integer from 0 to {maximum}: {value!r}")
    return value


def as_bytes_or_null(value: object, count: int) -> bytes | None:
    return None if value is None else as_bytes(value, count)


def as_text_or_null(value: object) -> str | None:
    return None if value is None else as_text(value)


def as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Unreadable(f"not an array: {value!r}")
    return value


def as_span_ids(value: object) -> tuple[bytes, ...]:
    return tuple(as_bytes(item, SPAN_ID_BYTES) for item in as_list(value))


def read_header(data: bytes) -> Header:
    if len(data) > HEADER_BYTES_MAX:
        raise Unreadable("the header is over its limit")
    version, kind, actor, status, caused_by, body_sha256, body_len = (e.value for e in read_array(data, count=7))
    header = Header(
        version=as_uint(version),
        kind=as_text(kind),
        actor=as_bytes_or_null(actor, 33),
        status=as_uint(status, 1),
        caused_by=as_bytes_or_null(caused_by, SPAN_ID_BYTES),
        body_sha256=as_bytes(body_sha256, 32),
        body_len=as_uint(body_len, BODY_BYTES_MAX),
    )
    if header.version != 1:
        raise Unreadable("the header's version is not 1")
    if KIND.fullmatch(header.kind) is None or len(header.kind) > KIND_BYTES_MAX:
        raise Unreadable("the kind has not the form of a kind")
    if header.actor is not None and not 1 <= header.actor[0] <= 5:
        raise Unreadable("the actor's kind is unknown")
    return header


def read_body(data: bytes) -> Body:
    if len(data) > BODY_BYTES_MAX:
        raise Unreadable("the body is over its limit")
    values = [element.value for element in read_array(data, count=13)]
    tags = tuple(as_text(tag) for tag in as_list(values[3]))
    if list(tags) != sorted(set(tags)):
        raise Unreadable("the tags are not sorted and unique")
    return Body(
        nonce=as_bytes(values[0], 16),
        title=as_text_or_null(values[1]),
        data=as_bytes(values[2]),
        tags=tags,
        subject=as_text_or_null(values[4]),
        contract_id=as_text_or_null(values[5]),
        workflow_id=as_text_or_null(values[6]),
        flow_id=as_text_or_null(values[7]),
        related=as_span_ids(values[8]),
        metadata=as_bytes(values[9]),
        annotations=as_bytes(values[10]),
        actor_signature=as_bytes_or_null(values[11], 64),
        idem=as_bytes_or_null(values[12], 16),
    )


def base32(data: bytes) -> str:
    """Lower-case Crockford base32: bits left-aligned, zero pad bits at the end."""
    count = -(-8 * len(data) // 5)
    bits = int.from_bytes(data, "big") << (5 * count - 8 * len(data))
    return "".join(CROCKFORD[bits >> 5 * place & 0x1F] for place in reversed(range(count)))


def entry_bytes(stub: Stub, header: bytes) -> bytes:
    """The 65 bytes that the leaf hash covers."""
    as_bytes(stub.feed_id, 16)
    as_uint(stub.hlc, HLC_MAX)
    as_uint(stub.visibility, PUBLIC)
    place = as_uint(stub.seq).to_bytes(8, "big") + stub.hlc.to_bytes(8, "big") + bytes([stub.visibility])
    return stub.feed_id + place + hashlib.sha256(header).digest()


def read_span(stub: Stub, header: bytes, body: bytes) -> Span:
    """The decoded span with its entry, leaf hash and span id. Raises Unreadable."""
    decoded = read_header(header)
    if decoded.body_sha256 != hashlib.sha256(body).digest() or decoded.body_len != len(body):
        raise Unreadable("the body is not the one that the header names")
    entry = entry_bytes(stub, header)
    leaf_hash = hashlib.sha256(b"\x00" + entry).digest()
    span_id = base32(stub.hlc.to_bytes(8, "big") + leaf_hash[:16])
    return Span(stub, decoded, read_body(body), entry, leaf_hash, span_id)


def signed_prefix(elements: Sequence[Element]) -> bytes:
    """The CBOR of the array of all elements but the last, which is the signature over it."""
    preceding = elements[:-1]
    return bytes([0x80 | len(preceding)]) + b"".join(element.raw for element in preceding)


def check_signature(key: bytes, message: bytes, signature: object) -> None:
    try:
        VerifyKey(key).verify(message, as_bytes(signature, 64))
    except CryptoError as error:
        raise Unreadable("the signature does not verify") from error


def check_control(span: Span, *, kind: str, seq: int) -> None:
    if span.header.kind != kind or span.stub.seq != seq or span.stub.visibility != PUBLIC:
        raise Unreadable(f"not a public {kind} at entry {seq}")


def check_feed_open(span: Span, *, tenant: bytes) -> FeedOpen:
    """The feed's opening, if the feed id is derived from it and the node key signed it."""
    check_control(span, kind="feed.open", seq=0)
    elements = read_array(span.body.data, count=9)
    after, node_key, nonce, log_key, feed, size, root, reason, signature = (e.value for e in elements)
    parent = None
    if (feed, size, root) != (None, None, None):
        parent = (as_bytes(feed, 16), as_uint(size), as_bytes(root, 32))
    opening = FeedOpen(
        after=as_span_ids(after),
        node_key=as_bytes(node_key, 32),
        nonce=as_bytes(nonce, 16),
        log_key=as_bytes(log_key, 32),
        parent=parent,
        reason=as_text_or_null(reason),
    )
    named = b"lognode feed v1" + as_bytes(tenant, 20) + opening.node_key + opening.nonce
    if hashlib.sha256(named).digest()[:16] != span.stub.feed_id:
        raise Unreadable("the feed id is not derived from this opening")
    message = b"lognode feed open v1" + tenant + span.stub.feed_id + signed_prefix(elements)
    check_signature(opening.node_key, message, signature)
    return opening


def check_tenant_create(span: Span, *, tenant: bytes) -> TenantCreate:
    """The tenant's opening, if the tenant id is derived from it and the founder's node key signed it."""
    check_control(span, kind="tenant.create", seq=1)
    elements = read_array(span.body.data, count=7)
    after, format_version, nonce, node_key, certificate, witness_key, signature = (e.value for e in elements)
    creation = TenantCreate(
        after=as_span_ids(after),
        format_version=as_uint(format_version),
        nonce=as_bytes(nonce, 16),
        node_key=as_bytes(node_key, 32),
        tls_certificate=as_bytes(certificate),
        witness_key=as_bytes(witness_key, 32),
    )
    named = b"lognode tenant v1" + creation.node_key + creation.nonce
    if hashlib.sha256(named).digest()[:20] != as_bytes(tenant, 20):
        raise Unreadable("the tenant id is not derived from this creation")
    check_signature(creation.node_key, b"lognode founder v1" + tenant + signed_prefix(elements), signature)
    return creation
