"""GET .../subjects: what the spans about each subject come to; and POST .../spans/{id}/revert."""

import sqlite3
from collections.abc import Mapping
from typing import Final

import msgspec
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Docs, Parameter, current
from lognode.api.evidence.state.values import SubjectJson, SubjectView
from lognode.api.federation.requests import JSON_MEDIA, json_answer, read_json, refuse_parameters
from lognode.api.spans.filters import url_parameters
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.access import Action
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, b32encode, parse_span_id
from lognode.core.limits import SUBJECTS_PAGE_MAX, TEXT_BYTES_MAX
from lognode.timeline.agreement.decisions import revert_draft
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef, feed_of, header_of, id_of
from lognode.timeline.store.agreement.subjects import has_subject, next_subjects, subject_of
from lognode.timeline.store.read.lookup import find_span_or_copy
from lognode.timeline.store.read.voids import void_reason

_BASE: Final = "/v1/tenants/<tenant>"
PAGING: Final = (
    Parameter("after", "Begin behind this subject; `next` of the page before"),
    Parameter("limit", f"How many at most, up to {SUBJECTS_PAGE_MAX}", int),
)
_encode = msgspec.json.Encoder().encode


class SubjectsJson(msgspec.Struct, frozen=True):
    """A page of subjects by their text; `next` is null behind the last one."""

    subjects: list[SubjectJson]
    next: str | None


class RevertJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a span is taken back, for whoever reads the timeline."""

    reason: str = ""


def register(app: ApiApp) -> None:
    """Add the routes about subjects."""
    docs = Docs(answers={200: {JSON_MEDIA: SubjectJson}})
    app.register_route(f"{_BASE}/subjects/<text:subject>", show_subject, action=Action.SPAN_READ, docs=docs)
    docs = Docs(
        query=[*PAGING, Parameter("prefix", "Only subjects that begin so")], answers={200: {JSON_MEDIA: SubjectsJson}}
    )
    app.register_route(f"{_BASE}/subjects", list_subjects, action=Action.SPAN_READ, docs=docs)
    docs = Docs(body={JSON_MEDIA: RevertJson}, answers={201: {JSON_MEDIA: ReceiptJson}})
    rule = f"{_BASE}/spans/<span_id>/revert"
    app.register_route(rule, revert_span, methods=("POST",), action=Action.SPAN_APPEND, docs=docs)


async def show_subject(subject: str) -> Response:
    """Show what the spans about a subject come to: what holds, what contradicts it, whether that is settled."""
    refuse_parameters()
    caller = current()
    store, members = caller.services.store, caller.services.desk.ground.membership(caller.tenant)
    return TrioResponse(
        await store.read(_subject, caller.tenant, store.feeds, members, subject), content_type=JSON_MEDIA
    )


async def list_subjects() -> Response:
    """List the subjects that spans are about, by their text, with what they come to."""
    caller, (after, limit, rest) = current(), read_paging("prefix")
    store, members = caller.services.store, caller.services.desk.ground.membership(caller.tenant)
    answer = await store.read(_subjects, caller.tenant, store.feeds, members, rest.get("prefix", ""), after, limit)
    return TrioResponse(answer, content_type=JSON_MEDIA)


async def revert_span(span_id: str) -> Response:
    """Take a span back: what its feed said of the subject before it counts again.

    That is a span of its own, `span.revert`, which may be taken back as well.
    """
    refuse_parameters()
    caller, wanted, asked = current(), parse_span_id(span_id), await read_json(RevertJson)
    if len(asked.reason.encode()) > TEXT_BYTES_MAX:
        raise CallerError("request.malformed", f"a reason has at most {TEXT_BYTES_MAX} bytes")
    services, members = caller.services, caller.services.desk.ground.membership(caller.tenant)
    draft = await services.store.read(
        _revert, caller.tenant, services.store.feeds, members, wanted, asked.reason or None
    )
    (receipt,) = await services.writer.append(caller.tenant, [draft])
    return json_answer(receipt_json(receipt), 201)


def read_paging(*others: str) -> tuple[str | None, int, dict[str, str]]:
    """`after`, `limit` and other parameters of a list. Raises CallerError("filter.invalid")."""
    given = {}
    for name, values in url_parameters().items():
        if name not in ("after", "limit", *others) or len(values) > 1:
            raise CallerError(
                "filter.invalid", f"no such parameter here, or too often: {name!r:.80}", place=f"{name:.80}"
            )
        given[name] = values[0]
    text = given.pop("limit", str(SUBJECTS_PAGE_MAX))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= SUBJECTS_PAGE_MAX:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {SUBJECTS_PAGE_MAX}", place="limit")
    return given.pop("after", None), limit, given


def _subject(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], members: Membership, subject: str
) -> bytes:
    if not has_subject(conn, tenant, subject):
        raise CallerError("subject.unknown", f"no span is about {subject!r:.80}")
    view = SubjectView(conn, tenant, feeds, members)
    return _encode(view.show(view.registers.read(subject)))


def _subjects(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    prefix: str,
    after: str | None,
    limit: int,
) -> bytes:
    found = next_subjects(conn, tenant, prefix, after, limit)
    view = SubjectView(conn, tenant, feeds, members)
    shown = [view.show(view.registers.read(subject)) for subject in found]
    return _encode(SubjectsJson(shown, found[-1] if len(found) == limit else None))


def _revert(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    wanted: SpanId,
    reason: str | None,
) -> Draft:
    """The draft that takes a span back. Raises CallerError span.unknown, revert.refused or revert.done."""
    record = find_span_or_copy(conn, tenant, feeds, wanted)
    if record is None:
        raise CallerError("span.unknown", b32encode(wanted))
    id_ = id_of(record, feed_of(record, feeds).feed_id)
    if reason_of_void := void_reason(conn, tenant, record):
        raise CallerError("revert.refused", f"it has no effect: {reason_of_void}")
    reverts = SubjectView(conn, tenant, feeds, members).registers.reverters(record)
    if reverts:
        raise CallerError("revert.done", f"by {b32encode(reverts[0])}")
    return revert_draft(id_, header_of(record).kind, record.visibility, subject_of(record), reason)
