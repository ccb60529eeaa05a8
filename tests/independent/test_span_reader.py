"""Checks the span reader with spans made here by a naive encoder, and with the examples of RFC 8949.

Knows nothing of lognode. Invariant: whatever byte of a span changes, it is refused or has another id.
"""

import hashlib
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from tests.independent import span_reader as reader
from tests.independent.span_reader import Stub, Unreadable

NODE = SigningKey(bytes(range(32)))
NODE_KEY = bytes(NODE.verify_key)
NONCE = bytes(range(16))
TENANT = hashlib.sha256(b"lognode tenant v1" + NODE_KEY + NONCE).digest()[:20]
FEED_ID = hashlib.sha256(b"lognode feed v1" + TENANT + NODE_KEY + NONCE).digest()[:16]
ENTRY_0 = Stub(feed_id=FEED_ID, seq=0, hlc=1_700_000_000_000 << 16, visibility=2)
ENTRY_1 = replace(ENTRY_0, seq=1, hlc=ENTRY_0.hlc + 1)

EXAMPLES: tuple[tuple[str, object], ...] = (
    ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1_000_000),
    ("1b000000e8d4a51000", 1_000_000_000_000), ("20", -1), ("3903e7", -1000), ("f93c00", 1.0),
    ("fa47c35000", 100_000.0), ("fb3ff199999999999a", 1.1), ("f4", False), ("f5", True), ("f6", None),
    ("62c3bc", "\u00fc"), ("80", []), ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}), ("a2616201616102", {"b": 1, "a": 2}),
    ("1b7fffffffffffffff", 2**63 - 1), ("3b7fffffffffffffff", -(2**63)),
)  # fmt: skip
REFUSED = {
    "a head longer than needed": ("1800", "1817", "190018", "1a0000ffff", "1b00000000ffffffff", "780161", "9800"),
    "an indefinite length": ("5fff", "7f6161ff", "9fff", "bfff", "ff"),
    "a reserved head": ("1c", "1f", "fc"),
    "a float that is not finite": ("f97e00", "f97c00", "faff800000", "fb7ff0000000000000"),
    "a tag or another simple value": ("c074323031332d30332d32315432303a30343a30305a", "f7", "f0", "f820"),
    "a bad map": ("a2616101616102", "a10102", "a1f601"),
    "bad text": ("61ff", "63eda080"),
    "a wrong end": ("0000", "", "18", "62c3", "8201", "a16161", "9bffffffffffffffff", "f93c"),
    "an integer beyond int64": ("1b8000000000000000", "3b8000000000000000"),
    "a byte string in JSON types": ("4101", "8140"),
    "a depth over 16": ("81" * 16 + "80",),
}


def cbor(value: object) -> bytes:
    """Plain RFC 8949 encoding of null, integers from 0, bytes, text and arrays."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    assert isinstance(value, list)
    return cbor_head(4, len(value)) + b"".join(cbor(item) for item in value)


def cbor_head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    info, width = next((24 + step, 1 << step) for step in range(4) if argument < 256 ** (1 << step))
    return bytes([major << 5 | info]) + argument.to_bytes(width, "big")


def header_of(body: bytes, kind: str, /, **changes: object) -> bytes:
    fields: dict[str, object] = {"version": 1, "kind": kind, "actor": None, "status": 0, "caused_by": None}
    fields |= {"body_sha256": hashlib.sha256(body).digest(), "body_len": len(body)} | changes
    return cbor(list(fields.values()))


def body_fields(data: bytes = b"") -> list[object]:
    return [NONCE, None, data, [], None, None, None, None, [], b"", b"", None, None]


def feed_open(
    *, sign_as: SigningKey = NODE, feed_id: bytes = FEED_ID, parent: tuple[object, ...] = (None,) * 3
) -> bytes:
    preceding = [[], NODE_KEY, NONCE, bytes(32), *parent, "first"]
    message = b"lognode feed open v1" + TENANT + feed_id + cbor(preceding)
    return cbor([*preceding, sign_as.sign(message).signature])


def tenant_create(*, sign_as: SigningKey = NODE, tenant: bytes = TENANT) -> bytes:
    preceding = [[bytes(24)], 1, NONCE, NODE_KEY, b"certificate", bytes(32)]
    return cbor([*preceding, sign_as.sign(b"lognode founder v1" + tenant + cbor(preceding)).signature])


def control_span(stub: Stub, kind: str, data: bytes) -> reader.Span:
    body = cbor(body_fields(data))
    return reader.read_span(stub, header_of(body, kind), body)


@pytest.mark.parametrize(("text", "value"), EXAMPLES)
def test_the_examples_of_rfc_8949_decode(text: str, value: object) -> None:
    decoded = reader.read_json_types(bytes.fromhex(text))
    assert decoded == value
    assert type(decoded) is type(value)


def test_a_depth_of_sixteen_and_absent_data_are_accepted() -> None:
    assert reader.read_json_types(bytes.fromhex("81" * 15 + "80")) is not None
    assert reader.read_json_types(b"") is None


def decode_strictly(data: bytes) -> object:
    decoder = reader.Decoder(data, json=True)
    value = decoder.item()
    decoder.end()
    return value


@pytest.mark.parametrize("why", REFUSED)
def test_cbor_that_breaks_a_rule_is_refused(why: str) -> None:
    for text in REFUSED[why]:
        with pytest.raises(Unreadable):
            decode_strictly(bytes.fromhex(text))


def test_maps_and_floats_have_no_place_in_the_arrays_of_the_record() -> None:
    for element in ("a0", "f93c00", "fb3ff199999999999a"):
        with pytest.raises(Unreadable):
            reader.read_array(bytes.fromhex("81" + element), count=1)


def test_a_span_has_the_leaf_and_the_id_that_the_text_describes() -> None:
    body = cbor(body_fields(b"\xa0"))
    actor = b"\x02" + bytes(32)
    header = header_of(body, "order.paid", actor=actor, caused_by=bytes(24))
    span = reader.read_span(ENTRY_1, header, body)
    place = (1).to_bytes(8, "big") + ENTRY_1.hlc.to_bytes(8, "big") + b"\x02"
    leaf_hash = hashlib.sha256(b"\x00" + FEED_ID + place + hashlib.sha256(header).digest()).digest()
    assert span.leaf_hash == leaf_hash
    assert len(span.entry) == 65
    bits = "".join(f"{byte:08b}" for byte in ENTRY_1.hlc.to_bytes(8, "big") + leaf_hash[:16]) + "000"
    digits = (int(bits[at : at + 5], 2) for at in range(0, 195, 5))
    assert span.span_id == "".join("0123456789abcdefghjkmnpqrstvwxyz"[digit] for digit in digits)
    assert len(span.span_id) == 39
    assert (span.header.actor, span.header.caused_by, span.body.data) == (actor, bytes(24), b"\xa0")


def test_every_change_of_one_byte_is_refused_or_gives_another_id() -> None:
    body = cbor(body_fields(feed_open()))
    header = header_of(body, "feed.open")
    span_id = reader.read_span(ENTRY_0, header, body).span_id
    for at in range(len(header)):
        for mask in range(1, 256):
            changed = header[:at] + bytes([header[at] ^ mask]) + header[at + 1 :]
            try:
                assert reader.read_span(ENTRY_0, changed, body).span_id != span_id
            except Unreadable:
                continue
    for at in range(len(body)):
        with pytest.raises(Unreadable, match="not the one"):
            reader.read_span(ENTRY_0, header, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    for stub in (replace(ENTRY_0, seq=1), replace(ENTRY_0, hlc=1), replace(ENTRY_0, visibility=1)):
        assert reader.read_span(stub, header, body).span_id != span_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2), ("kind", "Order"), ("kind", "a..b"), ("kind", "a.b\n"), ("kind", "a" * 65), ("kind", b"a"),
        ("actor", bytes(33)), ("actor", b"\x06" + bytes(32)), ("actor", bytes(32)), ("status", 2),
        ("caused_by", bytes(23)), ("body_sha256", bytes(32)), ("body_len", 0), ("extra", None), ("kind", "a" * 1024),
    ],
)  # fmt: skip
def test_a_header_that_breaks_a_rule_is_refused(field: str, value: object) -> None:
    body = cbor(body_fields())
    reader.read_span(ENTRY_1, header_of(body, "order.paid"), body)
    with pytest.raises(Unreadable):
        reader.read_span(ENTRY_1, header_of(body, "order.paid", **{field: value}), body)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, bytes(15)), (1, b"title"), (2, None), (3, ["b", "a"]), (3, ["a", "a"]), (3, [1]), (4, 1),
        (8, [bytes(23)]), (8, None), (9, "x"), (10, None), (11, bytes(63)), (12, bytes(17)), (1, "x" * 2**20),
    ],
)  # fmt: skip
def test_a_body_that_breaks_a_rule_is_refused(place: int, value: object) -> None:
    fields = body_fields()
    fields[place] = value
    body = cbor(fields)
    with pytest.raises(Unreadable):
        reader.read_span(ENTRY_1, header_of(body, "order.paid"), body)


def test_a_header_or_body_over_its_limit_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Unreadable, match="header is over its limit"):
        reader.read_header(bytes(1_025))
    with pytest.raises(Unreadable, match="body is over its limit"):
        reader.read_body(bytes(2**20 + 1))


def test_a_stub_out_of_range_is_refused() -> None:
    body = cbor(body_fields())
    header = header_of(body, "order.paid")
    bent = [replace(ENTRY_1, hlc=2**63), replace(ENTRY_1, visibility=3), replace(ENTRY_1, seq=2**64)]
    for stub in (*bent, replace(ENTRY_1, feed_id=bytes(15))):
        with pytest.raises(Unreadable):
            reader.read_span(stub, header, body)


def test_a_feed_opening_is_accepted_with_and_without_a_parent() -> None:
    opening = reader.check_feed_open(control_span(ENTRY_0, "feed.open", feed_open()), tenant=TENANT)
    assert (opening.node_key, opening.parent, opening.reason) == (NODE_KEY, None, "first")
    data = feed_open(parent=(bytes(16), 7, bytes(32)))
    opening = reader.check_feed_open(control_span(ENTRY_0, "feed.open", data), tenant=TENANT)
    assert opening.parent == (bytes(16), 7, bytes(32))


def test_a_feed_opening_signed_or_placed_wrongly_is_refused() -> None:
    stranger = SigningKey(bytes(32))
    bent = [(ENTRY_0, "feed.open", feed_open(sign_as=stranger)), (ENTRY_0, "feed.open", feed_open(feed_id=bytes(16)))]
    bent += [(ENTRY_0, "feed.open", feed_open(parent=(bytes(16), None, None))), (ENTRY_1, "feed.open", feed_open())]
    bent += [(ENTRY_0, "tenant.create", feed_open()), (replace(ENTRY_0, visibility=1), "feed.open", feed_open())]
    bent += [(replace(ENTRY_0, feed_id=bytes(16)), "feed.open", feed_open()), (ENTRY_0, "feed.open", b"")]
    for stub, kind, data in bent:
        with pytest.raises(Unreadable):
            reader.check_feed_open(control_span(stub, kind, data), tenant=TENANT)
    with pytest.raises(Unreadable):
        reader.check_feed_open(control_span(ENTRY_0, "feed.open", feed_open()), tenant=bytes(20))


def test_an_opening_well_signed_for_an_id_not_derived_from_it_is_refused() -> None:
    span = control_span(replace(ENTRY_0, feed_id=bytes(16)), "feed.open", feed_open(feed_id=bytes(16)))
    with pytest.raises(Unreadable, match="feed id is not derived"):
        reader.check_feed_open(span, tenant=TENANT)
    span = control_span(ENTRY_1, "tenant.create", tenant_create(tenant=bytes(20)))
    with pytest.raises(Unreadable, match="tenant id is not derived"):
        reader.check_tenant_create(span, tenant=bytes(20))


def test_a_tenant_creation_is_accepted_and_one_signed_or_placed_wrongly_is_refused() -> None:
    creation = reader.check_tenant_create(control_span(ENTRY_1, "tenant.create", tenant_create()), tenant=TENANT)
    assert (creation.node_key, creation.after, creation.format_version) == (NODE_KEY, (bytes(24),), 1)
    for data in (tenant_create(sign_as=SigningKey(bytes(32))), tenant_create(tenant=bytes(20)), b"\x80"):
        with pytest.raises(Unreadable):
            reader.check_tenant_create(control_span(ENTRY_1, "tenant.create", data), tenant=TENANT)
    for stub, tenant in ((ENTRY_0, TENANT), (ENTRY_1, bytes(20))):
        with pytest.raises(Unreadable):
            reader.check_tenant_create(control_span(stub, "tenant.create", tenant_create()), tenant=tenant)


@pytest.mark.parametrize(
    ("stub", "kind", "data"), [(ENTRY_0, "feed.open", feed_open()), (ENTRY_1, "tenant.create", tenant_create())]
)
def test_every_change_of_one_byte_of_a_signed_opening_is_refused(stub: Stub, kind: str, data: bytes) -> None:
    check = reader.check_feed_open if kind == "feed.open" else reader.check_tenant_create
    for at in range(len(data)):
        for mask in (0x01, 0x04, 0x10, 0x80, 0xFF):
            span = control_span(stub, kind, data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            with pytest.raises(Unreadable):
                check(span, tenant=TENANT)
