"""The data of control spans for people."""

from lognode.timeline.control.founding import FeedOpen, TenantCreate
from lognode.timeline.control.shape import elements


def control_json(kind: str, data: bytes) -> object:
    """The data of a control span for people, its byte strings in hex. Raises CallerError("body.malformed")."""
    shapes: dict[str, tuple[str, ...]] = {"feed.open": FeedOpen._fields, "tenant.create": TenantCreate._fields}
    if kind not in shapes:
        return data.hex()
    fields = shapes[kind]
    return {name: _shown(value) for name, value in zip(fields, elements(kind, data, len(fields)), strict=True)}


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return [_shown(item) for item in value] if isinstance(value, list) else value
