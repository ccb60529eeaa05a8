"""What a single field must be: bytes of a length, integers within bounds, ids in base32, signatures.

Shares no code with lognode; written from docs/protocol.md, Conventions, Ids, Certificates.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from tests.independent.protocol.cbor import Refused, need

T = TypeVar("T")
INT63 = 2**63 - 1
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
KIND = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
KIND_BYTES_MAX = 64
LOGLINE_KINDS = ("node", "person", "agent", "app", "org")
CERTIFICATE = (
    "3082013e3081f1a003020102020101300506032b6570303f313d303b06035504030c34{name}3020170d3730303130313030303030305a"
    "180f39393939313233313233353935395a303f313d303b06035504030c34{name}302a300506032b6570032100{key}"
    "a310300e300c0603551d130101ff04023000300506032b6570034100"
)
CERTIFICATE_SIGNED = slice(4, -74)  # from 3081f1 to the end of the extension


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def as_bytes(value: object, count: int | None = None) -> bytes:
    if not isinstance(value, bytes) or count not in (None, len(value)):
        raise Refused(f"not {count} bytes")
    return value


def as_int(value: object, least: int = 0, most: int = INT63) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused(f"not an integer from {least} to {most}")
    return value


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("not text")
    return value


def as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Refused("not an array")
    return value


def or_null(value: object, read: Callable[[object], T]) -> T | None:
    return None if value is None else read(value)


def as_kind(value: object) -> str:
    text = as_text(value)
    need(KIND.fullmatch(text) and len(text) <= KIND_BYTES_MAX, "not the form of a kind")
    return text


def as_rising(values: list[bytes]) -> list[bytes]:
    need(all(a < b for a, b in pairwise(values)), "not sorted, or one twice")
    return values


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this key signed so, as libsodium judges."""
    try:
        VerifyKey(key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def base32(data: bytes) -> str:
    count = -(-8 * len(data) // 5)
    bits = int.from_bytes(data, "big") << (5 * count - 8 * len(data))
    return "".join(ALPHABET[bits >> 5 * place & 31] for place in reversed(range(count)))


def unbase32(text: str, size: int) -> bytes:
    """The bytes of an id of `size` bytes."""
    need(len(text) == -(-8 * size // 5) and set(text) <= set(ALPHABET), "not the length or alphabet of an id")
    bits = 0
    for character in text:
        bits = bits << 5 | ALPHABET.index(character)
    pad = 5 * len(text) - 8 * size
    need(not bits & ((1 << pad) - 1), "pad bits that are not zero")
    return (bits >> pad).to_bytes(size, "big")


def logline_text(logline: bytes) -> str:
    return f"logline-id://{LOGLINE_KINDS[logline[0] - 1]}/{base32(logline[1:])}"


def read_logline(text: str) -> bytes:
    scheme, _, rest = text.partition("://")
    kind, _, key = rest.partition("/")
    need(scheme == "logline-id" and kind in LOGLINE_KINDS, "no LogLine ID")
    return bytes([LOGLINE_KINDS.index(kind) + 1]) + unbase32(key, 32)


def unbase64(text: bytes | str, size: int | None = None) -> bytes:
    """The bytes of the one canonical spelling."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("not base64") from error
    need(base64.b64encode(data) == raw and size in (None, len(data)), "not the one spelling of so many bytes")
    return data


def certificate_key(certificate: bytes) -> bytes:
    """The TLS key of a certificate that has the one form and verifies."""
    need(len(certificate) == 322, "not the length of a certificate")
    start = len(CERTIFICATE.partition("{key}")[0].replace("{name}", 52 * "00")) // 2
    key = certificate[start : start + 32]
    form = bytes.fromhex(CERTIFICATE.format(name=base32(key).encode().hex(), key=key.hex()))
    need(certificate[:-64] == form, "not the form of a certificate")
    need(signed_by(key, certificate[CERTIFICATE_SIGNED], certificate[-64:]), "a certificate that does not verify")
    return key
