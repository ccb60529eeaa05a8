"""Spans as the drafts that they were before rules had their say, and drafts as the spans that they become.

Pure. Invariant: what only gate rules can have written is gone from the draft; that a rule emitted it stays.
"""

from hashlib import sha256

import msgspec

from lognode.core.draft import Draft, read_origin
from lognode.core.ids import NONCE_BYTES
from lognode.core.limits import FORMAT_VERSION
from lognode.core.span import EXECUTED, Body, Header, decode_body, encode_body
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.timeline.agreement.rules.annotations import is_simulated, rules_in, with_rules

EMITTED = ("by", "hops")  # what the annotations of a span that a rule emitted held before gate rules judged it


def draft_before(header: Header, body: Body, visibility: int) -> Draft:
    """The draft that gate rules judged."""
    emitted = {name: said for name, said in rules_in(body.annotations).items() if name in EMITTED}
    return Draft(
        header.kind, body.title, body.data, tuple(body.tags), body.subject, body.contract_id, body.workflow_id,
        body.flow_id, tuple(body.related), body.metadata, visibility,
        EXECUTED if is_simulated(body.annotations) else header.status, header.caused_by, header.actor,
        body.actor_signature, body.idem, read_origin(body.annotations), with_rules(b"", emitted) if emitted else b"",
    )  # fmt: skip


def facts_after(draft: Draft, writer: Writer, hlc: int) -> Facts:
    """The facts of the span that a draft becomes."""
    raw = encode_body(
        (
            bytes(NONCE_BYTES), draft.title, draft.data, draft.tags, draft.subject, draft.contract_id,
            draft.workflow_id, draft.flow_id, draft.related, draft.metadata, draft.annotations, None, draft.idem,
        )
    )  # fmt: skip
    digest = sha256(raw).digest()
    header = Header(FORMAT_VERSION, draft.kind, draft.actor, draft.status, draft.caused_by, digest, len(raw))
    return Facts.of_span(header, raw, writer, hlc=hlc, visibility=draft.visibility)


def same_content(one: Draft, raw: bytes, header: Header, visibility: int) -> bool:
    """Whether a span says what a draft says, but for what gate rules added."""
    other = draft_before(header, decode_body(raw), visibility)
    return _content(one) == _content(other)


def _content(draft: Draft) -> Draft:
    tags = tuple(sorted(set(draft.tags)))
    return msgspec.structs.replace(draft, tags=tags, actor_signature=None, origin=None, status=EXECUTED)
