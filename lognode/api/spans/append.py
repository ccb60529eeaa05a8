"""POST .../spans: one draft as JSON or signed CBOR, or a stream of drafts as NDJSON."""

from typing import Any, Final, get_args

import msgspec
from msgspec import UNSET
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.spans.admission import Admission, check_key, read_draft
from lognode.api.spans.filters import url_parameters
from lognode.api.spans.runs import Runs
from lognode.api.spans.upload import Upload
from lognode.api.spans.wire import ReceiptJson, UploadJson, receipt_json
from lognode.core.access import Action
from lognode.core.draft import JsonDraft, parse_cbor_draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.limits import DRAFT_LINE_BYTES_MAX
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.writing.rehearsal import Fate, Rehearsal

JSON_MEDIA: Final = "application/json"
NDJSON_MEDIA: Final = "application/x-ndjson"
CBOR_MEDIA: Final = "application/cbor"
_PARSERS: Final = {JSON_MEDIA: parse_json_draft, CBOR_MEDIA: parse_cbor_draft}
_CHOICES: Final = {"receipts": ("all",), "dry_run": ("true", "false")}
_REFS: Final = "#/components/schemas/{name}"
_UPLOAD: Final = msgspec.json.schema_components([UploadJson], ref_template=_REFS)[1]["UploadJson"]
_ANSWER: Final = {"anyOf": [{"$ref": _REFS.format(name="ReceiptJson")}, _UPLOAD]}

_encode = msgspec.json.Encoder().encode


def register(app: ApiApp) -> None:
    """Add the route that appends."""
    app.register_route(
        "/v1/tenants/<tenant>/spans",
        append_spans,
        methods=("POST",),
        action=Action.SPAN_APPEND,
        docs=Docs(
            query=[
                Parameter("receipts", "'all': a stream answers the receipt of every line, as NDJSON"),
                Parameter("dry_run", "'true': answer what would come of it, and write nothing"),
            ],
            headers=[
                Parameter("Idempotency-Key", "Sending again with the same key appends nothing twice"),
                Parameter("Content-Encoding", "'gzip' for a compressed stream"),
            ],
            body={
                JSON_MEDIA: JsonDraft,
                NDJSON_MEDIA: {"type": "string", "description": "One JSON draft a line; blank lines are skipped."},
                CBOR_MEDIA: {"type": "string", "format": "binary", "description": "A signed draft; docs/protocol.md."},
            },
            answers={status: {JSON_MEDIA: _ANSWER, NDJSON_MEDIA: ReceiptJson} for status in (200, 201, 202)},
        ),
    )


async def append_spans() -> Response:
    """Append one draft, or a stream of drafts.

    Answers once everything is durable: 201, or 200 when nothing was new. 202: rules have it wait for approval, and the
    receipt's id is that of the approval; of a stream, lines that wait do not stop the others. A stream that stops at a
    line is answered with the problem of that line, and besides with `line`, `appended`, `duplicates` and `last` (a
    receipt): everything before that line is in, nothing from it on. A dry run answers 200 with the summary of a
    stream, also for one draft.
    """
    caller = current()
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    choices = _choices()
    is_dry = choices.get("dry_run") == "true"
    key = check_key(request.headers.get("Idempotency-Key"), for_lines=media == NDJSON_MEDIA)
    if media == NDJSON_MEDIA and encoding in {"identity", "gzip"}:
        runs = Runs() if "receipts" in choices else None
        return await _append_stream(caller, key, runs, is_gzip=encoding == "gzip", is_dry=is_dry)
    if media not in _PARSERS:
        raise CallerError("media.unsupported", f"Content-Type {media!r:.80}")
    if encoding != "identity":
        raise CallerError("media.unsupported", f"Content-Encoding {encoding!r:.80} with {media}")
    return await _append_one(caller, media, key, is_dry=is_dry)


async def _append_one(caller: Caller, media: str, key: str | None, *, is_dry: bool) -> Response:
    body: Any = request.body
    raw = await body.read(DRAFT_LINE_BYTES_MAX)
    draft, own_key = await read_draft(_PARSERS[media], raw, caller.services.parsing)
    draft = Admission(caller).admit(draft, own_key or key)
    if is_dry:
        fates, refused = await Rehearsal(caller.services.store, caller.services.writer, caller.tenant).append([draft])
        if refused is not None:
            raise refused
        new, duplicate, held = map(fates.count, get_args(Fate))
        summary = UploadJson(1, new, duplicate, None, None, 0, dry_run=True, held=held or UNSET)
        return TrioResponse(_encode(summary), content_type=JSON_MEDIA)
    try:
        (receipt,) = await caller.services.writer.append(caller.tenant, [draft])
    except AppendStopped as stopped:
        raise stopped.error from stopped
    status = 202 if receipt.held else 200 if receipt.duplicate else 201
    return TrioResponse(_encode(receipt_json(receipt)), status, content_type=JSON_MEDIA)


async def _append_stream(
    caller: Caller, key: str | None, runs: Runs | None, *, is_gzip: bool, is_dry: bool
) -> Response:
    if runs is not None and is_dry:
        raise CallerError("filter.invalid", "a dry run has no receipts", place="receipts")
    rehearsal = Rehearsal(caller.services.store, caller.services.writer, caller.tenant) if is_dry else None
    body: Any = request.body
    result = await Upload(caller, key, is_gzip=is_gzip, runs=runs, rehearsal=rehearsal).run(body)
    status = 200 if is_dry else 201 if result.appended else 202 if result.held else 200
    if runs is not None:
        return TrioResponse(runs.lines(caller), status, content_type=NDJSON_MEDIA)
    return TrioResponse(_encode(result), status, content_type=JSON_MEDIA)


def _choices() -> dict[str, str]:
    """The query parameters, none of them overlooked: what is written by mistake stays.

    Raises CallerError("filter.invalid").
    """
    for name, values in url_parameters().items():
        possible = _CHOICES.get(name)
        if possible is None:
            known = ", ".join(_CHOICES)
            raise CallerError("filter.invalid", f"no parameter {name!r:.80}: there are {known}", place=f"{name:.80}")
        if len(values) > 1:
            raise CallerError("filter.invalid", f"given {len(values)} times, it takes one value", place=name)
        if values[0] not in possible:
            raise CallerError(
                "filter.invalid", f"{values[0]!r:.80} is not {' or '.join(map(repr, possible))}", place=name
            )
    return request.args.to_dict()
