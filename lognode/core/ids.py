"""Ids and their one text form: Crockford base32, lower case.

Ids are plain bytes, told apart by NewTypes. Bits stand left-aligned with zero pad bits at the end, so text
sorts as bytes do and one id has one text. Decoders refuse all else.
"""

from enum import IntEnum
from typing import Final, NewType

from lognode.core.errors import CallerError

SpanId = NewType("SpanId", bytes)  # hlc (8) || first 16 bytes of the leaf hash
TenantId = NewType("TenantId", bytes)
FeedId = NewType("FeedId", bytes)
LogLine = NewType("LogLine", bytes)  # kind byte || 32 key bytes

SPAN_ID_BYTES: Final = 24
TENANT_ID_BYTES: Final = 20
FEED_ID_BYTES: Final = 16
KEY_BYTES: Final = 32
LOGLINE_BYTES: Final = 1 + KEY_BYTES
IDEM_BYTES: Final = 16
NONCE_BYTES: Final = 16

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [a + b for a in ALPHABET for b in ALPHABET]
_VALUES: Final = {char: value for value, char in enumerate(ALPHABET)}
_SCHEME: Final = "logline-id://"


class LogLineKind(IntEnum):
    """What a LogLine ID names."""

    NODE = 1
    PERSON = 2
    AGENT = 3
    APP = 4
    ORG = 5


def b32encode(data: bytes) -> str:
    """Lower-case Crockford base32 of `data`, without padding characters."""
    chars = (len(data) * 8 + 4) // 5
    pairs = (chars + 1) // 2
    number = int.from_bytes(data, "big") << (pairs * 10 - len(data) * 8)
    text = "".join([_PAIRS[(number >> shift) & 1023] for shift in range(pairs * 10 - 10, -1, -10)])
    return text[:chars]


def b32decode(text: str, size: int) -> bytes:
    """The `size` bytes that `text` encodes. Raises CallerError("id.malformed")."""
    chars = (size * 8 + 4) // 5
    if len(text) != chars:
        raise CallerError("id.malformed", f"{_shown(text)} has {len(text)} characters, not {chars}")
    number = 0
    try:
        for char in text:
            number = number << 5 | _VALUES[char]
    except KeyError as error:
        raise CallerError("id.malformed", f"{_shown(text)} holds {error.args[0]!r}") from None
    spare = chars * 5 - size * 8
    if number & ((1 << spare) - 1):
        raise CallerError("id.malformed", f"{_shown(text)} has pad bits that are not zero")
    return (number >> spare).to_bytes(size, "big")


def parse_span_id(text: str) -> SpanId:
    """The span id written as `text`. Raises CallerError("id.malformed")."""
    return SpanId(b32decode(text, SPAN_ID_BYTES))


def parse_tenant_id(text: str) -> TenantId:
    """The tenant id written as `text`. Raises CallerError("id.malformed")."""
    return TenantId(b32decode(text, TENANT_ID_BYTES))


def parse_feed_id(text: str) -> FeedId:
    """The feed id written as `text`. Raises CallerError("id.malformed")."""
    return FeedId(b32decode(text, FEED_ID_BYTES))


def logline(kind: LogLineKind, key: bytes) -> LogLine:
    """The LogLine ID of a 32-byte Ed25519 public key."""
    assert len(key) == KEY_BYTES
    return LogLine(bytes([kind]) + key)


def format_logline(value: LogLine) -> str:
    """`logline-id://<kind>/<key>`."""
    return f"{_SCHEME}{LogLineKind(value[0]).name.lower()}/{b32encode(value[1:])}"


def parse_logline(text: str) -> LogLine:
    """The LogLine ID written as `text`. Raises CallerError("id.malformed")."""
    kind, slash, key = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not slash or kind not in _KINDS:
        raise CallerError("id.malformed", f"{_shown(text)} is not logline-id://<{'|'.join(_KINDS)}>/<key>")
    return logline(_KINDS[kind], b32decode(key, KEY_BYTES))


def is_logline(value: bytes) -> bool:
    """Whether these bytes are a well-formed LogLine ID."""
    return len(value) == LOGLINE_BYTES and value[0] in _KIND_BYTES


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


_KINDS: Final = {kind.name.lower(): kind for kind in LogLineKind}
_KIND_BYTES: Final = frozenset(int(kind) for kind in LogLineKind)
