"""Errors as the wire carries them: RFC 9457 problem bodies, and failures of TLS, to errors of the one table."""

from ssl import SSLEOFError, SSLError
from typing import Final

import msgspec

from lognode.core.errors import ERRORS, CallerError, LognodeError, NodeFault, PeerError

_CLASSES: Final = {"caller": CallerError, "peer": PeerError, "node": NodeFault}
_OWN_FIELDS: Final = frozenset({"type", "title", "status", "detail", "code", "hint", "retryable", "place"})
# What OpenSSL says of an answer that is no TLS.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})


def error_from(status: int, body: bytes, retry_after: str | None = None, *, tenant: str = "") -> LognodeError:
    """The error that an answer of `status` carries; "client.protocol" for a body that is no problem of ours.

    `tenant` is the one that was asked for: a node answers alike for all that the caller may not see.
    """
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    code, detail = problem.get("code"), str(problem.get("detail") or "")
    if detail == problem.get("title"):
        detail = ""  # a node that has no more to say repeats it
    if code == "tenant.unknown" and tenant:
        detail = detail or f"{tenant!r}"
    if not isinstance(code, str) or code not in ERRORS:
        return NodeFault("client.protocol", f"HTTP {status} {problem.get('title', '')} {detail}".strip())
    place, hint = problem.get("place"), problem.get("hint")
    return _CLASSES[ERRORS[code].kind](
        code,
        detail,
        place=place if isinstance(place, str) else None,
        retry_after_s=int(retry_after) if retry_after and retry_after.isdecimal() else None,
        extra={name: value for name, value in problem.items() if name not in _OWN_FIELDS},
        hint=hint if isinstance(hint, str) else None,
    )


def tls_failure(error: BaseException) -> str | None:
    """Why TLS could not begin; None where it is not TLS that failed, or its connection was only cut."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLError) and not isinstance(cause, SSLEOFError):
            is_plain = any(name in str(cause) for name in _NO_TLS)
            return "it speaks no TLS; try http://" if is_plain else f"TLS failed: {cause}"
        cause = cause.__cause__ or cause.__context__
    return None
