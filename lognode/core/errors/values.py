"""Errors of values: ids, JSON, CBOR, drafts."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "id.malformed",
        "caller",
        400,
        False,
        "Malformed id",
        "Ids are lower-case Crockford base32: no i, l, o or u, no upper case.",
    ),
    ("json.malformed", "caller", 400, False, "Malformed JSON", "Compare it with RFC 8259; text needs double quotes."),
    ("json.not_utf8", "caller", 400, False, "Not UTF-8", "Encode the JSON as UTF-8."),
    ("json.duplicate_key", "caller", 400, False, "Key appears twice", "Keep one of them; none is dropped silently."),
    (
        "json.number",
        "caller",
        400,
        False,
        "Number out of range",
        "Integers must fit 64 bits with sign, floats be finite; send others as text.",
    ),
    ("json.too_deep", "caller", 400, False, "Nested too deeply", "At most 16 levels; flatten the data."),
    (
        "json.too_many",
        "caller",
        413,
        False,
        "Too many values",
        "At most 65,536 values and keys in data or metadata; pack numbers into a text, or write several spans.",
    ),
    ("cbor.malformed", "caller", 400, False, "Malformed CBOR", "See docs/protocol.md for the encoding."),
    ("draft.invalid", "caller", 422, False, "Draft not valid", "See /v1/docs for the fields of a draft."),
    (
        "draft.too_large",
        "caller",
        413,
        False,
        "Span too large",
        "A body is at most 1 MiB; store large content elsewhere and its hash here.",
    ),
    (
        "kind.invalid",
        "caller",
        422,
        False,
        "Kind not valid",
        "Use lower-case words joined by dots, such as order.paid, at most 64 bytes.",
    ),
    (
        "kind.reserved",
        "caller",
        422,
        False,
        "Kind is reserved",
        "Begin it with a word of your own; docs/protocol.md lists the reserved ones.",
    ),
    (
        "actor.unsigned",
        "caller",
        403,
        False,
        "Actor not signed",
        "Sign the draft with the actor's key, or use the admin token.",
    ),
    (
        "signature.wrong",
        "caller",
        422,
        False,
        "Signature does not match",
        "Sign the CBOR array exactly as docs/protocol.md gives it, with the tenant's id.",
    ),
)
