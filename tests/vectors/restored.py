"""Copies by which nodes restore spans that lost their effect, and the originals that they prove."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from lognode.core.access import Level
from lognode.core.codec import decode_value, encode
from lognode.core.draft import Draft
from lognode.core.ids import SpanId
from lognode.core.span import (
    PRIVATE,
    PUBLIC,
    Body,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
    is_control,
)
from lognode.timeline.agreement.restoring import Stranded, renewed_data, restored_draft
from tests.engine.receivers import keys_of
from tests.engine.tenants import Founder


def make_restored() -> dict[str, Any]:
    founder = Founder()
    said: dict[str, Any] = {
        "nonce": sha256(b"nonce").digest()[:16],
        "title": "Paid",
        "tags": ["a", "b"],
        "subject": "order-1",
    }
    founder.write("order.paid", encode({"n": 1}), **said, idem=bytes(16))
    founder.write("note", visibility=PRIVATE, caused_by=SpanId(bytes(24)), status=1)
    founder.write("note", visibility=PUBLIC, annotations=encode({"by": "hand"}))
    founder.admit(keys_of(2), Level.ROOT)
    copies = [_copy(founder, seq) for seq in range(2, len(founder.entries))]
    forged = []
    for name, change in _CHANGES.items():
        copy = dict(copies[0])
        body = decode_body(bytes.fromhex(copy["body"]))
        copy["header"], copy["body"] = _encoded(bytes.fromhex(copy["header"]), change(body))
        forged.append({"name": name, "code": "proof.invalid", **{key: copy[key] for key in _COPY_KEYS}})
    return {
        "about": "Copies of spans that lost their effect: header, body and visibility, and header and body of the "
        "originals, which they prove; and copies that prove nothing.",
        "tenant": founder.tenant.hex(),
        "log_key": founder.key.public.hex(),
        "copies": copies,
        "refused": forged,
    }


def _changed(body: Body, name: str, value: object) -> Body:
    said: Any = decode_value(body.annotations)
    said["restored"][name] = value
    return body._replace(annotations=encode(said))


_COPY_KEYS: Final = ("visibility", "header", "body")
_CHANGES: Final[dict[str, Callable[[Body], Body]]] = {
    "another title": lambda body: body._replace(title="Owed"),
    "another place": lambda body: _changed(body, "seq", 3),
    "another nonce": lambda body: _changed(body, "nonce", "AAAAAAAAAAAAAAAAAAAAAA=="),
    "no path": lambda body: _changed(body, "path", ""),
    "nothing that is restored": lambda body: body._replace(annotations=b""),
}


def _copy(founder: Founder, seq: int) -> dict[str, Any]:
    entry, proof = founder.entries[seq], founder.foretold(seq)
    assert entry.body is not None
    place = (founder.feed_id, founder.keys.public, seq, entry.hlc, entry.visibility)
    draft = restored_draft(founder.tenant, Stranded(*place, entry.header, entry.body, proof.path, proof.note))
    assert draft is not None
    header, body = _written(draft)
    return {
        "visibility": entry.visibility,
        "header": header,
        "body": body,
        "original": {"header": entry.header.hex(), "body": entry.body.hex()},
    }


def _written(draft: Draft) -> tuple[str, str]:
    """Header and body of the copy, as a writer makes them."""
    data = renewed_data(draft.data, [SpanId(bytes([9]) * 24)]) if is_control(draft.kind) else draft.data
    body = Body(
        bytes(16), draft.title, data, list(draft.tags), draft.subject, draft.contract_id, draft.workflow_id,
        draft.flow_id, list(draft.related), draft.metadata, draft.annotations, draft.actor_signature, draft.idem,
    )  # fmt: skip
    header = Header(1, draft.kind, draft.actor, draft.status, draft.caused_by, bytes(32), 0)
    return _encoded(encode_header(header), body)


def _encoded(header: bytes, body: Body) -> tuple[str, str]:
    raw = encode_body(body)
    return encode_header((*decode_header(header)[:5], sha256(raw).digest(), len(raw))).hex(), raw.hex()
