"""Drafts in both forms, and the annotations of copies. From docs/protocol.md, Drafts and Origin."""

import json
import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime

from tests.independent.protocol.cbor import DEPTH_MAX, PARTS_MAX, Refused, need, read_array, read_value, write
from tests.independent.protocol.fields import (
    as_bytes,
    as_int,
    as_kind,
    as_list,
    as_text,
    or_null,
    read_logline,
    signed_by,
    unbase32,
)
from tests.independent.protocol.records import as_logline, as_span_id, check_tags

TEXT_BYTES_MAX = 4_096
COUNT_MAX = 64
KEY_BYTES_MAX = 256
VIA_MAX = 16
VISIBILITIES = ("private", "organization", "public")
STATUSES = ("executed", "simulated")
WAYS = ("import", "bundle", "replay", "restore")
TEXTS = ("title", "subject", "contract_id", "workflow_id", "flow_id")
FIELDS = {*TEXTS, "kind", "data", "metadata", "tags", "related", "visibility", "status", "caused_by", "actor", "origin"}


def read_json_draft(line: bytes) -> tuple[bytes, str | None, bytes]:
    """The signed array, the idempotency key and the annotations of a draft."""
    found = strict_json(line)
    need(isinstance(found, dict) and found.keys() <= FIELDS | {"idempotency_key"}, "no object, or an unknown field")
    assert isinstance(found, dict)
    held = {name: value for name, value in found.items() if value is not None and value != ""}
    need({"tags", "related"} & found.keys() <= held.keys(), "null for an array")
    texts = {name: _text(held[name]) if name in held else None for name in TEXTS}
    tags = sorted({_text(tag) for tag in as_list(held.get("tags", []))}, key=str.encode)
    related = [unbase32(as_text(one), 24) for one in as_list(held.get("related", []))]
    need(len(as_list(held.get("tags", []))) <= COUNT_MAX and len(related) <= COUNT_MAX, "too many")
    array = [
        read_logline(as_text(held["actor"])) if "actor" in held else None,
        _place(STATUSES, held.get("status", "executed")),
        as_kind(held.get("kind")),
        texts["title"],
        _value(held.get("data")),
        tags,
        *(texts[name] for name in TEXTS[1:]),
        related,
        _value(held.get("metadata")),
        _place(VISIBILITIES, held.get("visibility", "organization")),
        unbase32(as_text(held["caused_by"]), 24) if "caused_by" in held else None,
    ]
    origin = held.get("origin")
    if origin is not None:
        check_origin(origin)
    annotations = _value({"origin": origin}) if origin is not None else b""
    return write(array), or_null(held.get("idempotency_key"), _key), annotations


def read_cbor_draft(data: bytes) -> tuple[bytes, bytes | None, str | None]:
    """The signed array, its signature and the idempotency key."""
    elements = read_array(data, 16, PARTS_MAX)
    actor, status, kind, title, content, tags, *texts, related, metadata, visibility, caused_by = elements[:14]
    or_null(actor, as_logline)
    as_int(status, 0, 1)
    as_kind(kind)
    for text in (title, *texts):
        or_null(text, _text)
    for value in (content, metadata):
        read_value(as_bytes(value))
    need(len(check_tags(tags)) <= COUNT_MAX and all(map(_text, as_list(tags))), "too many tags")
    need(len([as_span_id(one) for one in as_list(related)]) <= COUNT_MAX, "too many related spans")
    as_int(visibility, 0, 2)
    or_null(caused_by, as_span_id)
    signature = or_null(elements[14], lambda one: as_bytes(one, 64))
    need(signature is None or actor is not None, "a signature without an actor")
    return write(elements[:14]), signature, or_null(elements[15], _key)


def draft_message(tenant: bytes, array: bytes) -> bytes:
    return b"lognode draft v1" + tenant + array


def is_signed_by_actor(tenant: bytes, array: bytes, signature: bytes) -> bool:
    actor = as_logline(read_array(array, 14)[0])
    return signed_by(actor[1:], draft_message(tenant, array), signature)


def check_origin(origin: object) -> None:
    """Refuses what is no origin; members that nobody knows are passed over only in what is read, not in drafts."""
    need(isinstance(origin, dict), "no object")
    assert isinstance(origin, dict)
    checks: dict[str, Callable[[object], object]] = {
        "id": lambda one: unbase32(as_text(one), 24),
        "at": as_text,
        "tenant": lambda one: unbase32(as_text(one), 20),
        "node": lambda one: read_logline(as_text(one)),
        "feed": lambda one: unbase32(as_text(one), 16),
        "seq": as_int,
        "actor_signed": lambda one: need(isinstance(one, bool), "neither true nor false"),
        "as": lambda one: _place(WAYS, one),
    }
    for name, check in checks.items():
        need(name in origin, f"no {name}")
        check(origin[name])
    ms = int.from_bytes(unbase32(origin["id"], 24)[:8], "big") >> 16
    at = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03}Z"
    need(origin["at"] == at, "not the time of the id")
    via = [unbase32(as_text(one), 24) for one in as_list(origin.get("via", [origin["id"]]))]
    need(1 <= len(via) <= VIA_MAX, "too many copies between")
    need("run" not in origin or (origin["as"] == "replay" and 1 <= len(origin["run"].encode()) <= 64), "no run")


def strict_json(line: bytes) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        need(len(found) == len(pairs), "a key twice")
        return found

    def refuse(text: str) -> object:
        raise Refused(f"{text} is no number")

    try:
        found = json.loads(line.decode(), object_pairs_hook=unique, parse_constant=refuse)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused("not JSON") from error
    return found


def _value(value: object) -> bytes:
    encoded = b"" if value is None else _encoded(value, 1)
    read_value(encoded)
    return encoded


def _encoded(value: object, depth: int) -> bytes:
    """CBOR of JSON types: shortest heads, floats in 64 bits, keys in their order."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return write(as_int(value, -(2**63), 2**63 - 1))
    if isinstance(value, float):
        need(math.isfinite(value), "a number that is not finite")
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, list | dict):
        need(depth <= DEPTH_MAX, "too many levels")
        items = list(value) if isinstance(value, list) else [part for pair in value.items() for part in pair]
        head = write([None] * len(value))[: -len(value) or None]
        if isinstance(value, dict):
            head = bytes([head[0] | 0x20]) + head[1:]
        return head + b"".join(_encoded(item, depth + 1) for item in items)
    return write(value)


def _text(value: object) -> str:
    text = as_text(value)
    need(1 <= len(text.encode()) <= TEXT_BYTES_MAX, "an empty text, or one that is too long")
    return text


def _key(value: object) -> str:
    text = as_text(value)
    need(1 <= len(text.encode()) <= KEY_BYTES_MAX, "an empty key, or one that is too long")
    return text


def _place(names: tuple[str, ...], value: object) -> int:
    need(value in names, "an unknown name")
    return names.index(as_text(value))
