""".../conflicts and .../policies: what contradicts each other, deciding it, and by which policies it is settled."""

import sqlite3
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.evidence.state.subjects import PAGING, SubjectsJson, read_paging
from lognode.api.evidence.state.values import SubjectJson, SubjectView
from lognode.api.federation.requests import JSON_MEDIA, json_answer, read_json, refuse_parameters
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.access import Action, Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, parse_span_id
from lognode.core.span import is_kind, is_reserved
from lognode.timeline.agreement.decisions import resolve_draft
from lognode.timeline.control.policies import LATEST, tenant_policy_data
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.agreement.disputes import next_disputes

_BASE: Final = "/v1/tenants/<tenant>"
_STEP: Final = 64  # subjects that are looked at for one page, however few of them are in conflict
_encode = msgspec.json.Encoder().encode


class ChoiceJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of the spans that contradict each other about a subject holds."""

    subject: str
    span: str


class ResolvedJson(msgspec.Struct, frozen=True):
    """The `conflict.resolve` that was written, and what the subject comes to now."""

    receipt: ReceiptJson
    subject: SubjectJson


class PolicyJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How conflicts are settled."""

    policy: Literal["latest", "manual"]


class PoliciesJson(msgspec.Struct, frozen=True):
    """Kinds of spans with the policy that somebody set for them; all others have `default`."""

    policies: dict[str, str]
    default: Literal["latest"]


def register(app: ApiApp) -> None:
    """Add the routes about conflicts."""
    is_open = Parameter("open", "'true': only those of which nothing holds until somebody decides")
    docs = Docs(query=[*PAGING, is_open], answers={200: {JSON_MEDIA: SubjectsJson}})
    app.register_route(f"{_BASE}/conflicts", list_conflicts, action=Action.SPAN_READ, docs=docs)
    docs = Docs(body={JSON_MEDIA: ChoiceJson}, answers={201: {JSON_MEDIA: ResolvedJson}})
    rule = f"{_BASE}/conflicts/resolve"
    app.register_route(rule, resolve_conflict, methods=("POST",), action=Action.SPAN_APPEND, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: PoliciesJson}})
    app.register_route(f"{_BASE}/policies", list_policies, action=Action.SPAN_READ, docs=docs)
    docs = Docs(body={JSON_MEDIA: PolicyJson}, answers={201: {JSON_MEDIA: ReceiptJson}})
    rule = f"{_BASE}/policies/<kind>"
    app.register_route(rule, change_policy, methods=("PUT",), action=Action.POLICY_CHANGE, docs=docs)


async def list_conflicts() -> Response:
    """List the subjects about which spans contradict each other: their authors knew nothing of each other.

    A page may be short or empty, and there are more until `next` is null.
    """
    caller, (after, limit, rest) = current(), read_paging("open")
    if rest.get("open", "false") not in ("true", "false"):
        raise CallerError("filter.invalid", "it is true or false", place="open")
    store, members = caller.services.store, _members(caller)
    is_open = rest.get("open") == "true"
    answer = await store.read(_conflicts, caller.tenant, store.feeds, members, after, limit, is_open)
    return TrioResponse(answer, content_type=JSON_MEDIA)


async def resolve_conflict() -> Response:
    """Decide a conflict: one of the spans that contradict each other holds, for all members.

    That is a span of its own, `conflict.resolve`, which may be taken back. Any later span about the subject decides as
    well.
    """
    refuse_parameters()
    caller, asked = current(), await read_json(ChoiceJson)
    services, members, wanted = caller.services, _members(caller), parse_span_id(asked.span)
    draft = await services.store.read(_resolution, caller.tenant, services.store.feeds, members, asked.subject, wanted)
    (receipt,) = await services.writer.append(caller.tenant, [draft])
    shown = await services.store.read(_shown, caller.tenant, services.store.feeds, members, asked.subject)
    return json_answer(ResolvedJson(receipt_json(receipt), shown), 201)


async def list_policies() -> Response:
    """List the policies by which conflicts are settled."""
    refuse_parameters()
    return json_answer(PoliciesJson(dict(sorted(_members(current()).policies.items())), LATEST))


async def change_policy(kind: str) -> Response:
    """Say how conflicts between spans of a kind are settled, earlier ones too. This takes a root member."""
    refuse_parameters()
    caller, asked = current(), await read_json(PolicyJson)
    if not is_kind(kind):
        raise CallerError("kind.invalid", f"{kind!r:.80}", place="kind")
    if is_reserved(kind):
        raise CallerError("kind.reserved", kind, place="kind")

    def build(members: Membership, after: list[SpanId]) -> bytes:
        if members.level(caller.services.node_public) < Level.ROOT:
            raise CallerError("member.not_root", "only a root member says how conflicts are settled")
        return tenant_policy_data(after, kind, asked.policy)

    receipt = await caller.services.writer.append_control(caller.tenant, "tenant.policy", build)
    return json_answer(receipt_json(receipt), 201)


def _members(caller: Caller) -> Membership:
    return caller.services.desk.ground.membership(caller.tenant)


def _conflicts(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    after: str | None,
    limit: int,
    is_open: bool,  # noqa: FBT001 - handed on by position
) -> bytes:
    view = SubjectView(conn, tenant, feeds, members)
    found: list[SubjectJson] = []
    disputed = next_disputes(conn, tenant, after, _STEP)
    is_more = len(disputed) == _STEP
    for subject in disputed:
        if len(found) == limit:
            is_more = True
            break
        state = view.registers.read(subject)
        after = subject
        if state.fold.is_conflict and not (is_open and state.fold.value):
            found.append(view.show(state))
    return _encode(SubjectsJson(found, after if is_more else None))


def _resolution(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    subject: str,
    chosen: SpanId,
) -> Draft:
    registers = SubjectView(conn, tenant, feeds, members).registers
    heads = registers.read(subject).fold.heads
    return resolve_draft(subject, heads, chosen, [registers.record(head.means).visibility for head in heads])


def _shown(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], members: Membership, subject: str
) -> SubjectJson:
    view = SubjectView(conn, tenant, feeds, members)
    return view.show(view.registers.read(subject))
