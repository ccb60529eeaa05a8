""".../approvals: drafts that wait until enough members have approved them, and saying what this node thinks of one."""

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, node_name, read_json, refuse_parameters
from lognode.api.spans.filters import url_parameters
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.access import Action
from lognode.core.clock import hlc_ms, time_text
from lognode.core.codec import parse_json
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode, parse_span_id
from lognode.core.limits import APPROVALS_PAGE_MAX
from lognode.core.span import span_hlc
from lognode.engine.service.ruling.approvals.answering import Answering, Request, State

_APPROVALS: Final = "/v1/tenants/<tenant>/approvals"
_STATES: Final[tuple[State, ...]] = get_args(State)
_FILTERS: Final = (
    Parameter("state", f"Only what is so: {', '.join(_STATES)}"),
    Parameter("before", "Begin behind this one; `next` of the page before"),
    Parameter("limit", f"How many at most, up to {APPROVALS_PAGE_MAX}", int),
)


class AnswerJson(msgspec.Struct, frozen=True):
    """What a node said; `counts` is false for an approval of one that may not approve now."""

    span: str
    node: str
    at: str
    says: Literal["approve", "deny"]
    note: str
    counts: bool


class ApprovalJson(msgspec.Struct, frozen=True):
    """A draft that waits, or waited, for approval; its id is that of the firing that tells of it.

    `node` wants it. It takes `of` who have the `role`, until `until`. `span` is what was written in the end. `sound` is
    false where `draft` is not what its node says it will write, or wrote: it cannot be approved.
    """

    id: str
    at: str
    node: str
    set: str
    rule: str
    text: str
    role: str
    of: int
    until: str
    state: Literal["waiting", "written", "denied", "expired", "rejected"]
    draft: Any
    sound: bool
    answers: list[AnswerJson]
    span: str | None


class ApprovalsJson(msgspec.Struct, frozen=True):
    """A page of approvals, the newest first; `next` is null behind the last one."""

    approvals: list[ApprovalJson]
    next: str | None


class NoteJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes with an approval or a denial."""

    note: Annotated[str, msgspec.Meta(description="for all members to read")] = ""


class AnsweredJson(msgspec.Struct, frozen=True):
    """What this node said, and the approval as it is then. What follows is done by the node that wants it."""

    approval: ApprovalJson
    receipt: ReceiptJson


def register(app: ApiApp) -> None:
    """Add the routes about approvals."""
    docs = Docs(query=_FILTERS, answers={200: {JSON_MEDIA: ApprovalsJson}})
    app.register_route(_APPROVALS, list_approvals, action=Action.APPROVAL_READ, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: ApprovalJson}})
    app.register_route(f"{_APPROVALS}/<approval>", show_approval, action=Action.APPROVAL_READ, docs=docs)
    answers = {status: {JSON_MEDIA: AnsweredJson} for status in (200, 201)}
    docs = Docs(body={JSON_MEDIA: NoteJson}, answers=answers)
    for word, handler in (("grant", grant_approval), ("deny", deny_approval)):
        rule = f"{_APPROVALS}/<approval>/{word}"
        app.register_route(rule, handler, methods=("POST",), action=Action.APPROVAL_CHANGE, docs=docs)


async def list_approvals() -> Response:
    """List what waits for approval in the tenant, or waited, as far as this node holds it."""
    caller, given = current(), _parameters("state", "before", "limit")
    text = given.get("limit", str(APPROVALS_PAGE_MAX))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= APPROVALS_PAGE_MAX:
        detail = f"{text!r:.80} is no number from 1 to {APPROVALS_PAGE_MAX}"
        raise CallerError("filter.invalid", detail, place="limit")
    said = given.get("state")
    state = next((state for state in _STATES if state == said), None)
    if said is not None and state is None:
        raise CallerError("filter.invalid", f"{said!r:.80} is none of {', '.join(_STATES)}", place="state")
    before = parse_span_id(given["before"]) if "before" in given else None
    page = await _answering(caller).page(caller.tenant, before, limit, state)
    shown = [approval_json(request) for request in page.requests]
    return json_answer(ApprovalsJson(shown, None if page.next is None else b32encode(page.next)))


async def show_approval(approval: str) -> Response:
    """Show a draft that waits, or waited, with who said what about it."""
    refuse_parameters()
    caller = current()
    return json_answer(approval_json(await _answering(caller).find(caller.tenant, parse_span_id(approval))))


async def grant_approval(approval: str) -> Response:
    """Approve a draft in the name of this node, which takes a root member; a second time is a duplicate.

    Once enough have, the node that wants it judges it anew and writes it.
    """
    return await _answer(approval, is_denial=False)


async def deny_approval(approval: str) -> Response:
    """Deny a draft in the name of this node, which takes a root member or the node that wants it. It waits no more."""
    return await _answer(approval, is_denial=True)


async def _answer(approval: str, *, is_denial: bool) -> Response:
    refuse_parameters()
    caller, asked = current(), await read_json(NoteJson)
    answering, span = _answering(caller), parse_span_id(approval)
    request, receipt = await answering.answer(caller.tenant, span, asked.note, is_denial=is_denial)
    answered = AnsweredJson(approval_json(request), receipt_json(receipt))
    return json_answer(answered, 200 if receipt.duplicate else 201)


def approval_json(request: Request) -> ApprovalJson:
    """A request for people."""
    held = request.fired.held
    assert held is not None
    return ApprovalJson(
        id=b32encode(request.id),
        at=time_text(hlc_ms(span_hlc(request.id))),
        node=node_name(request.node_key),
        set=held.set,
        rule=held.rule,
        text=held.text,
        role=held.role,
        of=held.of,
        until=time_text(held.until_ms),
        state=request.state,
        draft=_draft(held.draft),
        sound=request.is_sound,
        answers=[
            AnswerJson(
                b32encode(answer.span),
                node_name(answer.node_key),
                time_text(hlc_ms(span_hlc(answer.span))),
                "deny" if answer.is_denial else "approve",
                answer.note,
                answer.span in request.counted,
            )
            for answer in request.answers
        ],
        span=request.span,
    )


def _draft(text: str) -> object:
    """The draft as another node showed it; its text where that is no JSON."""
    try:
        return parse_json(text.encode())
    except CallerError:
        return text


def _answering(caller: Caller) -> Answering:
    services = caller.services
    return Answering(services.store, services.writer, services.world, services.node_public)


def _parameters(*names: str) -> dict[str, str]:
    """The parameters of the URL, each once at most. Raises CallerError("filter.invalid")."""
    given = {}
    for name, values in url_parameters().items():
        if name not in names or len(values) > 1:
            detail = f"no such parameter here, or too often: {name!r:.80}"
            raise CallerError("filter.invalid", detail, place=f"{name:.80}")
        given[name] = values[0]
    return given
