"""The OpenAPI 3.1 description of the API, made from its routes.

Pure: routes in, document out. What it says of a route is what the route was registered with; types are
described by msgspec, which also encodes them. Generated here because quart-schema knows one media type for
bodies, leaves out WebSockets, and refers to schemas that it does not write (docs/decisions).
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from lognode.api.app import Media, Parameter, Route
from lognode.api.server.door.problems import PROBLEM_MEDIA
from lognode.core.errors import ERRORS

_PATH_PARAMETERS: Final[Mapping[str, tuple[str, str | None]]] = {
    "tenant": ("A tenant's id, or this node's name for it; `default` is the one made at first start.", "default"),
    "invite": ("An invite's id: 26 characters of lower-case Crockford base32.", None),
    "node": ("A node's key: 52 characters of lower-case Crockford base32.", None),
    "span_id": ("A span's id: 39 characters of lower-case Crockford base32.", None),
    "subject": ("A subject, as spans name it; any text, percent-encoded.", None),
    "kind": ("The kind of spans.", None),
    "other": ("The id of another span.", None),
    "feed": ("A feed's id: 26 characters of lower-case Crockford base32.", None),
    "rule_set": ("The name of a rule set.", None),
    "rule": ("The id of a rule in the set.", None),
    "tip": ("The name of a history, as the list of forks shows it.", "held"),
    "approval": ("An approval's id: 39 characters of lower-case Crockford base32.", None),
    "task": ("A task's id: 26 characters of lower-case Crockford base32.", None),
    "name": ("The name of a subscription.", None),
    "schedule": ("A schedule's id, or `name:` and its name, percent-encoded.", None),
}
_TEXT: Final = """Every request needs `Authorization: Bearer TOKEN` with the token from `admin.token` in the \
data directory, save those to the four routes that say otherwise. Every error is a problem (RFC 9457) with a \
`code` that never changes its meaning."""


class ProblemJson(msgspec.Struct, frozen=True):
    """Why a request was refused or failed. Some codes add members of their own."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    retryable: bool
    place: str = ""


def describe(routes: Mapping[str, Route], version: str) -> dict[str, Any]:
    """The document for `routes`, by operation id."""
    schemas = _Schemas(routes.values())
    paths: dict[str, dict[str, Any]] = {}
    for name, route in routes.items():
        operation = _operation(name, route, schemas)
        for method in route.methods:
            paths.setdefault(_path(route.rule), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lognode",
            "version": version,
            "summary": "A node that keeps a verifiable timeline.",
            "description": _TEXT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                "Problem": {
                    "description": "The request was refused or failed.",
                    "content": {PROBLEM_MEDIA: {"schema": schemas.of(ProblemJson)}},
                }
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Schemas:
    """JSON schemas of all types that the routes name; structs become components."""

    def __init__(self, routes: Iterable[Route]) -> None:
        types = list(dict.fromkeys([ProblemJson, *(type_ for route in routes for type_ in _types_of(route))]))
        schemas, self.components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
        self._by_type = dict(zip(types, schemas, strict=True))
        self.components["ProblemJson"]["properties"]["code"]["enum"] = sorted(ERRORS)

    def of(self, type_: Any) -> dict[str, Any]:
        """The schema of a type; a schema is its own."""
        return type_ if isinstance(type_, dict) else self._by_type[type_]

    def content(self, media: Media) -> dict[str, Any]:
        """A content object."""
        return {name: {"schema": self.of(type_)} for name, type_ in media.items()}


def _types_of(route: Route) -> Iterable[Any]:
    docs = route.docs
    for media in (docs.body, *docs.answers.values()):
        yield from (type_ for type_ in media.values() if not isinstance(type_, dict))
    yield from (parameter.type for parameter in (*docs.query, *docs.headers))


def _operation(name: str, route: Route, schemas: _Schemas) -> dict[str, Any]:
    docs = route.docs
    text = inspect.getdoc(route.handler) or ""
    summary, _, description = text.partition("\n")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary.rstrip("."),
        "description": " ".join(description.split()),
        "parameters": [
            *(_path_parameter(part) for part in _PATH_PART.findall(route.rule)),
            *(_parameter(parameter, "query", schemas) for parameter in docs.query),
            *(_parameter(parameter, "header", schemas) for parameter in docs.headers),
        ],
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, "content": schemas.content(media)}
            for status, media in docs.answers.items()
        },
    }
    if route.is_websocket:
        operation["responses"]["101"] = {"description": "The connection becomes a WebSocket."}
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if docs.body:
        operation["requestBody"] = {"required": True, "content": schemas.content(docs.body)}
    if route.action is None:
        operation["security"] = []
    else:
        operation["x-lognode-action"] = str(route.action)
    return operation


_PATH_PART: Final = re.compile(r"<(?:text:)?([a-z_]+)>")


def _path(rule: str) -> str:
    return _PATH_PART.sub(r"{\1}", rule)


def _path_parameter(name: str) -> dict[str, Any]:
    description, example = _PATH_PARAMETERS[name]
    parameter = {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}
    return parameter if example is None else {**parameter, "example": example}


def _parameter(parameter: Parameter, place: str, schemas: _Schemas) -> dict[str, Any]:
    schema = schemas.of(parameter.type)
    if parameter.is_repeatable:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": place,
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": schema,
    }
