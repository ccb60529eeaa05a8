"""The JSON text frames of a WebSocket, in both directions.

Owns their shapes. Invariant: `ref` comes back exactly as it was sent, and means nothing here. The raw parts of
a request are views that hold its whole frame: who keeps one keeps a copy.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from lognode.api.spans.wire import ReceiptJson
from lognode.core.codec import parse_json
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import REF_BYTES_MAX

NO_REF: Final = msgspec.Raw(b"null")

FilterValue = str | int | list[str]


class Append(msgspec.Struct, tag="append", forbid_unknown_fields=True, frozen=True):
    """Append a draft; answered by `receipt` or `error` with the same ref."""

    draft: msgspec.Raw
    ref: msgspec.Raw = NO_REF
    idempotency_key: str | None = None


class Subscribe(msgspec.Struct, tag="subscribe", forbid_unknown_fields=True, frozen=True):
    """Follow spans; answered by `subscribed`, then by a `span` for each, with the same ref."""

    ref: msgspec.Raw = NO_REF
    filter: dict[str, FilterValue] = {}
    after: str | None = None

    def parameters(self) -> Mapping[str, list[str]]:
        """The filter as URL parameters."""
        return {name: value if isinstance(value, list) else [str(value)] for name, value in self.filter.items()}


class Unsubscribe(msgspec.Struct, tag="unsubscribe", forbid_unknown_fields=True, frozen=True):
    """End the subscription of this ref; answered by `unsubscribed`, behind which nothing of it comes."""

    ref: msgspec.Raw = NO_REF


class _Ref(msgspec.Struct):
    ref: msgspec.Raw = NO_REF


Request = Append | Subscribe | Unsubscribe

_decode_ref = msgspec.json.Decoder(_Ref).decode
_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


class Framed(Protocol):
    """What a frame says, for whatever socket."""

    @property
    def ref(self) -> msgspec.Raw:
        """What the client knows the answer by."""


F = TypeVar("F", bound=Framed)


def parse_frame(frame: str | bytes) -> Request:
    """What a client asks by one frame. Raises as `read_frame` does."""
    asked: Request = read_frame(frame, _decode)
    return asked


def read_frame(frame: str | bytes, decode: Callable[[bytes], F]) -> F:
    """What a client says by one frame, as `decode` reads it.

    Raises CallerError json.* or request.malformed.
    """
    if isinstance(frame, bytes):
        raise CallerError("request.malformed", "a binary frame; send JSON in text frames")
    raw = frame.encode()
    try:
        said = decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        parse_json(raw)  # says what is wrong with the text, if the text is wrong
        raise CallerError("request.malformed", str(error)) from None
    if len(bytes(said.ref)) > REF_BYTES_MAX:
        raise CallerError("request.malformed", f"ref takes at most {REF_BYTES_MAX} bytes", place="ref")
    return said


def ref_of(frame: str | bytes) -> msgspec.Raw:
    """The ref of a frame that could not be parsed, as far as it can be told."""
    try:
        ref = _decode_ref(frame).ref
    except (msgspec.MsgspecError, RecursionError):
        return NO_REF
    return ref if len(bytes(ref)) <= REF_BYTES_MAX else NO_REF


def receipt_frame(ref: msgspec.Raw, receipt: ReceiptJson) -> str:
    """The acknowledgement of an append."""
    return _encode({"type": "receipt", "ref": ref, "receipt": receipt}).decode()


def error_frame(ref: msgspec.Raw, error: LognodeError) -> str:
    """What went wrong with the request of this ref."""
    return _encode({"type": "error", "ref": ref, "problem": error.problem()}).decode()


def state_frame(state: str, ref: msgspec.Raw, cursor: str | None = None) -> str:
    """That a subscription began, at a cursor, or ended."""
    frame = {"type": state, "ref": ref}
    return _encode(frame if cursor is None else {**frame, "cursor": cursor}).decode()


def span_frame(ref: msgspec.Raw, cursor: str, span: bytes) -> str:
    """A span of a subscription, and the cursor to go on behind it."""
    return _encode({"type": "span", "ref": ref, "cursor": cursor, "span": msgspec.Raw(span)}).decode()


def event_frame(ref: msgspec.Raw, name: str, content: Mapping[str, object]) -> str:
    """What happened between nodes in a subscription's tenant."""
    return _encode({"type": "event", "ref": ref, "event": name, "content": content}).decode()
