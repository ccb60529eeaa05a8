"""What a caller asks a node to record, and its JSON line."""

import json
from typing import Any

import msgspec

from lognode.core.errors import CallerError


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A span before the node gave it place, time and hash; None and empty fields are left out.

    `data` and `metadata` take JSON types: text keys, 64-bit integers, finite floats. `visibility` is private,
    organization (the default) or public; `status` executed (the default) or simulated. `origin` is for a copy of
    another span: an object as docs/protocol.md describes it.
    """

    kind: str
    title: str | None = None
    data: Any = None
    tags: tuple[str, ...] = ()
    subject: str | None = None
    contract_id: str | None = None
    workflow_id: str | None = None
    flow_id: str | None = None
    related: tuple[str, ...] = ()
    metadata: Any = None
    visibility: str | None = None
    status: str | None = None
    caused_by: str | None = None
    actor: str | None = None
    idempotency_key: str | None = None
    origin: Any = None

    def line(self) -> bytes:
        """The draft as one line of JSON, without the newline.

        Raises CallerError("draft.invalid") for data that JSON cannot hold unchanged.
        """
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if value not in (None, ())}
        try:
            # Not msgspec's encoder: it writes NaN as null, and a record must not change on its way.
            return json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise CallerError("draft.invalid", str(error)) from error
