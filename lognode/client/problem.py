"""Errors as the wire carries them: RFC 9457 problem bodies to errors of the one table."""

from typing import Final

import msgspec

from lognode.core.errors import ERRORS, CallerError, LognodeError, NodeFault, PeerError

_CLASSES: Final = {"caller": CallerError, "peer": PeerError, "node": NodeFault}
_OWN_FIELDS: Final = frozenset({"type", "title", "status", "detail", "code", "hint", "retryable", "place"})


def error_from(status: int, body: bytes, retry_after: str | None = None) -> LognodeError:
    """The error that an answer of `status` carries; "client.protocol" for a body that is no problem of ours."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    code, detail = problem.get("code"), str(problem.get("detail") or "")
    if not isinstance(code, str) or code not in ERRORS:
        return NodeFault("client.protocol", f"HTTP {status} {problem.get('title', '')} {detail}".strip())
    place = problem.get("place")
    return _CLASSES[ERRORS[code].kind](
        code,
        detail,
        place=place if isinstance(place, str) else None,
        retry_after_s=int(retry_after) if retry_after and retry_after.isdecimal() else None,
        extra={name: value for name, value in problem.items() if name not in _OWN_FIELDS},
    )
