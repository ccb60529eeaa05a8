"""Drafts: what a caller may say."""

import json
from typing import Any, Final

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import decode_value
from lognode.core.draft import (
    Draft,
    annotations_of,
    idem_key,
    parse_cbor_draft,
    parse_json_draft,
    read_origin,
    signed_array,
)
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, SpanId, TenantId, b32encode
from lognode.core.limits import BODY_BYTES_MAX, ORIGIN_BYTES_MAX, ORIGIN_VIA_MAX, RUN_NAME_BYTES_MAX
from lognode.core.span import decode_body, encode_body

TEXTS = st.none() | st.text(min_size=1, max_size=20)
DRAFTS = st.builds(
    Draft,
    kind=st.sampled_from(["order.paid", "note", "a_1.b2.c3"]),
    title=TEXTS,
    data=st.dictionaries(st.text(max_size=5), st.integers(-5, 5), max_size=3).map(cbor2.dumps),
    tags=st.lists(st.text(min_size=1, max_size=5), unique=True).map(lambda tags: tuple(sorted(tags))),
    subject=TEXTS,
    contract_id=TEXTS,
    workflow_id=TEXTS,
    flow_id=TEXTS,
    related=st.lists(st.binary(min_size=24, max_size=24).map(SpanId), max_size=2).map(tuple),
    visibility=st.integers(0, 2),
    status=st.integers(0, 1),
    caused_by=st.none() | st.binary(min_size=24, max_size=24).map(SpanId),
    actor=st.none() | st.binary(min_size=32, max_size=32).map(lambda key: LogLine(b"\x02" + key)),
)


@given(DRAFTS)
def test_a_cbor_draft_is_read_as_it_was_signed(draft: Draft) -> None:
    raw = cbor2.dumps([*cbor2.loads(signed_array(draft)), None, "key"])
    assert parse_cbor_draft(raw) == (draft, "key")


def test_every_field_of_a_json_draft_is_kept() -> None:
    span = b32encode(bytes(24))
    given = {
        "kind": "order.paid", "title": "t", "data": {"a": [1, 2.5, None]}, "tags": ["b", "a", "b"], "subject": "s",
        "contract_id": "c", "workflow_id": "w", "flow_id": "f", "related": [span], "metadata": {"m": 1},
        "visibility": "public", "status": "simulated", "caused_by": span,
        "actor": f"logline-id://person/{b32encode(bytes(32))}", "idempotency_key": "k",
    }  # fmt: skip
    draft, key = parse_json_draft(json.dumps(given).encode())
    assert key == "k"
    assert draft == Draft(
        "order.paid", "t", cbor2.dumps({"a": [1, 2.5, None]}), ("a", "b"), "s", "c", "w", "f", (SpanId(bytes(24)),),
        cbor2.dumps({"m": 1}), 2, 1, SpanId(bytes(24)), LogLine(b"\x02" + bytes(32)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        (b"[]", "draft.invalid", None),
        (b"{}", "draft.invalid", None),
        (b'{"kind":1}', "draft.invalid", "kind"),
        (b'{"kind":"a","color":1}', "draft.invalid", None),
        (b'{"kind":"a","kind":"b"}', "json.duplicate_key", None),
        (b'{"kind":"a","title":null,"title":"b"}', "json.duplicate_key", None),
        (b'{"kind":"a","data":{"x":1,"x":2}}', "json.duplicate_key", None),
        (b'{"kind":"Order"}', "kind.invalid", "kind"),
        (b'{"kind":"a..b"}', "kind.invalid", "kind"),
        (b'{"kind":"a.b\\n"}', "kind.invalid", "kind"),
        (b'{"kind":"' + b"a" * 65 + b'"}', "kind.invalid", "kind"),
        (b'{"kind":"a","tags":[""]}', "draft.invalid", "tags"),
        (b'{"kind":"a","tags":' + json.dumps([str(n) for n in range(65)]).encode() + b"}", "draft.invalid", "tags"),
        (b'{"kind":"a","title":"' + b"x" * 4097 + b'"}', "draft.invalid", "title"),
        (b'{"kind":"a","visibility":"secret"}', "draft.invalid", "visibility"),
        (b'{"kind":"a","status":"ghost"}', "draft.invalid", "status"),
        (b'{"kind":"a","caused_by":"x"}', "id.malformed", None),
        (b'{"kind":"a","actor":"me"}', "id.malformed", None),
        (b'{"kind":"a","data":NaN}', "json.number", None),
        (b'{"kind":"a","data":' + b"[" * 17 + b"]" * 17 + b"}", "json.too_deep", "data"),
        (b'{"kind":"a","data":"' + b"x" * 2**20 + b'"}', "draft.too_large", None),
        (b'{"kind":"a","data":"' + b"x" * 2**21 + b'"}', "draft.too_large", None),
        (b'{"kind":"a","data":"\xff"}', "json.not_utf8", None),
        (b"nonsense", "json.malformed", None),
    ],
)
def test_what_is_wrong_with_a_draft_is_said(line: bytes, code: str, place: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        parse_json_draft(line)
    assert (caught.value.code, caught.value.place) == (code, place)


FIRST, SECOND = (b32encode(bytes([0, 0, 1, 2, 3, 4]) + bytes(17) + bytes([n])) for n in (1, 2))
NODE = f"logline-id://node/{b32encode(bytes(32))}"
ORIGIN = {
    "id": FIRST, "at": "1970-01-01T04:41:49.060Z", "tenant": b32encode(bytes(20)), "node": NODE,
    "feed": b32encode(bytes(16)), "seq": 7, "actor_signed": True, "as": "import",
}  # fmt: skip


def test_a_replay_says_of_which_run_it_is_and_its_copies_do_not() -> None:
    given = ORIGIN | {"as": "replay", "via": [SECOND], "run": "r"}
    draft, _ = parse_json_draft(json.dumps({"kind": "a", "origin": given}).encode())
    assert draft.origin is not None
    assert cbor2.loads(annotations_of(draft.origin)) == {"origin": given}
    assert draft.origin.passed_on(b32encode(bytes(24)), "replay", "s").run == "s"
    assert draft.origin.passed_on(b32encode(bytes(24)), "import").run == ""


@pytest.mark.parametrize("via", [(), (SECOND,)])
def test_an_origin_goes_into_the_annotations_and_is_read_from_them(via: tuple[str, ...]) -> None:
    given = ORIGIN | ({"via": list(via)} if via else {})
    draft, _ = parse_json_draft(json.dumps({"kind": "a", "origin": given}).encode())
    assert draft.origin is not None
    assert (draft.origin.id, draft.origin.way, draft.origin.via) == (FIRST, "import", via)
    assert cbor2.loads(annotations_of(draft.origin)) == {"origin": given}
    assert read_origin(annotations_of(draft.origin)) == draft.origin
    assert signed_array(draft) == signed_array(Draft("a"))
    assert draft.content_bytes() - Draft("a").content_bytes() >= len(annotations_of(draft.origin))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": "x"}, "origin.id"),
        ({"id": b32encode(b"\x80" + bytes(23))}, "origin.id"),
        ({"at": "1970-01-01T04:41:49.061Z"}, "origin.at"),
        ({"tenant": "default"}, "origin.tenant"),
        ({"node": NODE.replace("node", "person")}, "origin.node"),
        ({"feed": FIRST}, "origin.feed"),
        ({"seq": -1}, "origin.seq"),
        ({"seq": "7"}, "origin.seq"),
        ({"actor_signed": None}, "origin.actor_signed"),
        ({"as": "copy"}, "origin.as"),
        ({"via": ["x"]}, "origin.via"),
        ({"via": [FIRST]}, "origin.via"),
        ({"via": [SECOND, SECOND]}, "origin.via"),
        ({"via": [b32encode(bytes([n]) * 24) for n in range(ORIGIN_VIA_MAX + 1)]}, "origin.via"),
        ({"via": SECOND}, "origin.via"),
        ({"run": "r"}, "origin.run"),
        ({"as": "replay", "run": ""}, "origin.run"),
        ({"as": "replay", "run": "r" * (RUN_NAME_BYTES_MAX + 1)}, "origin.run"),
        ({"colour": 1}, "origin"),
    ],
)
def test_what_is_wrong_with_an_origin_is_said(change: dict[str, object], place: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_json_draft(json.dumps({"kind": "a", "origin": ORIGIN | change}).encode())
    assert (caught.value.code, caught.value.place) == ("draft.invalid", place)


@pytest.mark.parametrize("name", ORIGIN)
def test_an_origin_lacks_nothing(name: str) -> None:
    lacking = {key: value for key, value in ORIGIN.items() if key != name}
    with pytest.raises(CallerError) as caught:
        parse_json_draft(json.dumps({"kind": "a", "origin": lacking}).encode())
    assert (caught.value.code, caught.value.place) == ("draft.invalid", "origin")


@pytest.mark.parametrize(
    "annotations",
    [
        b"",
        b"\xff",
        cbor2.dumps([]),
        cbor2.dumps({}),
        cbor2.dumps({"origin": FIRST}),
        cbor2.dumps({"origin": ORIGIN | {"seq": "7"}}),
        cbor2.dumps({"origin": ORIGIN | {"at": ""}}),
    ],
)
def test_annotations_without_an_origin_of_this_form_have_none(annotations: bytes) -> None:
    assert read_origin(annotations) is None


def test_what_a_newer_lognode_adds_to_an_origin_is_passed_over() -> None:
    said = cbor2.dumps({"rules": [1], "origin": ORIGIN | {"colour": 1}})
    assert read_origin(said) == read_origin(cbor2.dumps({"origin": ORIGIN})) != None  # noqa: E711 - a chain


def test_a_copy_of_a_copy_keeps_the_first_origin_and_names_the_copies_between() -> None:
    first = read_origin(cbor2.dumps({"origin": ORIGIN}))
    assert first is not None
    ids = [b32encode(bytes([n]) * 24) for n in range(ORIGIN_VIA_MAX + 2)]
    origin = first
    for copy in ids:
        origin = origin.passed_on(copy, "replay")
    assert (origin.id, origin.at, origin.way) == (first.id, first.at, "replay")
    assert origin.via == tuple(ids[2:])
    assert origin.spans == (first.id, *ids[2:])


LONGEST = ORIGIN | {
    "seq": 2**63 - 1, "as": "replay", "via": [b32encode(bytes([n]) * 24) for n in range(ORIGIN_VIA_MAX)],
    "run": "r" * RUN_NAME_BYTES_MAX,
}  # fmt: skip


def test_every_span_leaves_room_for_the_longest_origin_of_its_copies() -> None:
    def is_taken(size: int, **more: object) -> bool:
        try:
            parse_json_draft(json.dumps({"kind": "a", "data": "x" * size, **more}).encode())
        except CallerError:
            return False
        return True

    largest = next(size for size in range(BODY_BYTES_MAX, 0, -16) if is_taken(size))
    assert largest > BODY_BYTES_MAX - ORIGIN_BYTES_MAX - 1024
    assert is_taken(largest, origin=LONGEST)


ESCAPED: Final = b'"' + b"\\u0001" * 100 + b'"'


@pytest.mark.parametrize(("item", "count"), [(b"1e15", 65_000), (b"false", 65_000), (ESCAPED, 3_000)], ids=str)
def test_what_is_taken_can_be_copied_as_a_line_of_json(item: bytes, count: int) -> None:
    taken, _ = parse_json_draft(b'{"kind":"a","data":[%s]}' % b",".join([item] * count))
    line = msgspec.json.encode({"kind": "a", "data": decode_value(taken.data), "origin": LONGEST})
    assert parse_json_draft(line)[0].data == taken.data


def cbor_draft(data: bytes) -> bytes:
    return cbor2.dumps([None, 0, "a", None, data, [], None, None, None, None, [], b"", 1, None, None, None])


def test_what_no_line_of_json_could_hold_is_refused() -> None:
    parse_cbor_draft(cbor_draft(cbor2.dumps("\x01" * 300_000)))
    with pytest.raises(CallerError) as caught:
        parse_cbor_draft(cbor_draft(cbor2.dumps("\x01" * 400_000)))
    assert caught.value.code == "draft.too_large"
    assert "bytes as JSON" in (caught.value.detail or "")


def test_floats_of_sixteen_bits_are_taken_while_their_copies_of_64_bits_find_room() -> None:
    def draft(size: int) -> bytes:
        count = 65_000
        floats = b"\x9a" + count.to_bytes(4, "big") + b"\xf9\x3c\x00" * count
        return cbor_draft(b"\x82" + cbor2.dumps("a" * size) + floats)

    taken, _ = parse_cbor_draft(draft(440_000))
    parse_json_draft(msgspec.json.encode({"kind": "a", "data": decode_value(taken.data), "origin": LONGEST}))
    with pytest.raises(CallerError) as caught:
        parse_cbor_draft(draft(480_000))
    assert caught.value.code == "draft.too_large"


def test_null_and_absent_are_the_same_draft() -> None:
    assert parse_json_draft(b'{"kind":"a","title":null,"data":null,"tags":[]}')[0] == Draft("a")


def test_an_idempotency_key_belongs_to_tenant_and_principal() -> None:
    keys = {idem_key(TenantId(tenant * 20), who * 33, "k") for tenant in (b"a", b"b") for who in (b"c", b"d")}
    assert len(keys) == 4
    for bad in ("", "x" * 257):
        with pytest.raises(CallerError, match="Idempotency"):
            idem_key(TenantId(bytes(20)), b"", bad)


@pytest.mark.parametrize("field", ["data", "metadata"])
@pytest.mark.parametrize(("item", "count"), [("1", 65_536), ("{}", 65_536), ('""', 65_536), ("[]", 400_000)])
def test_a_draft_of_more_values_than_are_decoded_in_one_go_is_refused(field: str, item: str, count: int) -> None:
    """In either form, before they are made: a decoder makes all of them without a pause."""
    value = "[" + ",".join([item] * count) + "]"
    with pytest.raises(CallerError) as caught:
        parse_json_draft(f'{{"kind":"a.b","{field}":{value}}}'.encode())
    assert caught.value.code == "json.too_many"
    draft, _ = parse_json_draft(b'{"kind":"a.b"}')
    large = msgspec.structs.replace(draft, **{field: cbor2.dumps(msgspec.json.decode(value))})
    with pytest.raises(CallerError) as caught:
        parse_cbor_draft(cbor2.dumps([*cbor2.loads(signed_array(large)), None, None]))
    assert caught.value.code == "json.too_many"


def test_a_body_of_more_parts_than_any_draft_makes_is_malformed() -> None:
    many = b"[" + b"1," * 65_534 + b"1]"
    draft, _ = parse_json_draft(b'{"kind":"a.b","data":' + many + b',"metadata":' + many + b"}")
    body: tuple[Any, ...] = (bytes(16), None, draft.data, [], None, None, None, None, [], b"", b"", None, None)
    assert decode_body(encode_body(body)).data == draft.data
    tags = sorted(f"{number:x}" for number in range(65_536))
    with pytest.raises(CallerError) as caught:
        decode_body(encode_body((*body[:3], tags, *body[4:])))
    assert caught.value.code == "body.malformed"
