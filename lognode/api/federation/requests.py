"""What the routes about other nodes read from requests, and the words that they all use."""

from typing import Any, Final, TypeVar

import msgspec
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.spans.filters import url_parameters
from lognode.core.access import Level
from lognode.core.codec import parse_json
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, LogLineKind, b32decode, format_logline, logline
from lognode.core.limits import FEDERATION_REQUEST_BYTES_MAX

JSON_MEDIA: Final = "application/json"
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


async def read_json(type_: type[T], bytes_max: int = FEDERATION_REQUEST_BYTES_MAX) -> T:
    """The request's body, up to so many bytes, as a value of this type; nothing of a body that is refused is shown.

    Raises CallerError media.unsupported, request.too_large, request.malformed or json.*.
    """
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media != JSON_MEDIA:
        raise CallerError("media.unsupported", f"Content-Type {media!r:.80}")
    body: Any = request.body
    try:
        return msgspec.convert(parse_json(await body.read(bytes_max)), type_)
    except msgspec.ValidationError as error:
        raise CallerError("request.malformed", str(error)) from None


def json_answer(value: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return TrioResponse(_encode(value), status, content_type=JSON_MEDIA)


def refuse_parameters() -> None:
    """Pass if the URL has no query parameters. Raises CallerError("filter.invalid")."""
    for name in url_parameters():
        raise CallerError("filter.invalid", f"no parameter {name!r:.80} here", place=f"{name:.80}")


def node_name(node_key: bytes) -> str:
    """The LogLine ID of a node."""
    return format_logline(logline(LogLineKind.NODE, node_key))


def parse_node(text: str) -> bytes:
    """The node key of a path's part: base32. Raises CallerError("id.malformed")."""
    return b32decode(text, KEY_BYTES)


def level_name(level: int) -> str:
    """The word for a level."""
    return Level(level).name.lower()
