"""RFC 9457 problem bodies: the one form in which the API says no.

Owns how an error becomes an answer. Invariant: no answer holds HTML, a traceback or anything of an
exception that is not in the error table.
"""

import sqlite3
from typing import Any, Final

import msgspec
import structlog
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.limits import BUSY_RETRY_S
from lognode.timeline.store.database import is_full

PROBLEM_MEDIA: Final = "application/problem+json"
_log = structlog.get_logger("lognode.api")


def problem_response(error: LognodeError) -> Response:
    """The answer that carries `error`, with Retry-After, Allow and WWW-Authenticate where they apply."""
    spec = error.spec
    response = TrioResponse(msgspec.json.encode(error.problem()), spec.status, content_type=PROBLEM_MEDIA)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if "allow" in error.extra:
        response.headers["Allow"] = str(error.extra["allow"])
    if spec.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="lognode"'
    return response


def error_of(error: BaseException) -> LognodeError:
    """The error of the table that stands for any exception; one that is not foreseen is logged and hidden.

    Of an exception group, as a nursery raises it, the first counts that the table has a code for. What SQLite
    cannot read is damage, unless we asked it wrongly. Failed commits of spans never come here; what is written beside
    them, about invites, may not have found room.
    """
    if isinstance(error, LognodeError):
        return error
    if isinstance(error, BaseExceptionGroup):
        known = error.subgroup((LognodeError, sqlite3.DatabaseError))
        if known is not None:
            return error_of(_first_leaf(known))
    if isinstance(error, sqlite3.Error) and is_full(error):
        return NodeFault("disk.full", retry_after_s=BUSY_RETRY_S)
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError):
        _log.error("the database cannot be read", exc_info=error)
        return NodeFault("database.damaged", str(error))
    _log.error("request failed unexpectedly", exc_info=error)
    return NodeFault("node.internal")


def routing_error(error: Any) -> CallerError:
    """The error that stands for one of the router."""
    if error.code == 404:
        return CallerError("route.unknown")
    if error.code == 405:
        return CallerError("method.not_allowed", extra={"allow": ", ".join(sorted(error.valid_methods))})
    return CallerError("request.malformed", "this path takes a WebSocket upgrade, or none")


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first
