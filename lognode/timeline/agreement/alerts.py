"""What the owner of a node is to know of its feeds, as a value; and its bytes in the database.

Pure. Invariant: bytes that were not written so are read as nothing.
"""

from hashlib import sha256
from typing import Any, Final, NamedTuple

from lognode.core.codec import decode_any_array, encode
from lognode.core.errors import CallerError

_SEAL_BYTES: Final = 16


class Alert(NamedTuple):
    """What happened, as a row of the table of errors says it, how often, and when last."""

    code: str
    detail: str
    times: int
    at_ms: int


def seal_alert(tenant: int, alert: Alert) -> bytes:
    """What is stored of an alert in a tenant, by the tenant's number, with a seal by which damage is found."""
    said = encode([alert.detail, alert.times, alert.at_ms])
    return said + _seal(tenant, alert.code, said)


def read_alert(tenant: int, code: str, raw: bytes) -> Alert | None:
    """The alert that is stored so; None where it is not as it was written."""
    said = raw[:-_SEAL_BYTES]
    if raw[-_SEAL_BYTES:] != _seal(tenant, code, said):
        return None
    try:
        parts: list[Any] = decode_any_array(said)
        return Alert(code, *parts)
    except (CallerError, TypeError):
        return None


def _seal(tenant: int, code: str, said: bytes) -> bytes:
    return sha256(b"lognode alert v1" + encode([tenant, code]) + said).digest()[:_SEAL_BYTES]
