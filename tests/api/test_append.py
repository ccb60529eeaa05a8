"""POST .../spans over a real port: single drafts, signatures, keys, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any, Final

import cbor2
import httpx
import pytest
import trio

from lognode.api.app import Caller
from lognode.api.services import Services
from lognode.api.spans.admission import Admission
from lognode.core.access import Principal, Role
from lognode.core.draft import Draft, Origin, signed_array, signing_message
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, TenantId, b32encode, format_logline, logline
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, DRAFT_LINE_BYTES_MAX, MAILBOX_SPANS_MAX
from lognode.identity.keys import KeyPair
from tests.api.serving import (
    NDJSON,
    SPANS,
    append_kinds,
    code_of,
    held_disk,
    http_client,
    lines,
    serve,
    stored,
    tenant_of,
)

CBOR: Final = {"Content-Type": "application/cbor"}
PERSON: Final = KeyPair(b"p" * 32)
PERSON_ID: Final = logline(LogLineKind.PERSON, PERSON.public)


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_one_draft_is_answered_with_its_place(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, json={"kind": "order.paid", "title": "Order 17", "data": {"amount": 12}})

    assert answer.status_code == 201
    receipt = answer.json()
    span = (await http.get(f"{SPANS}/{receipt['id']}")).json()
    assert span["title"] == "Order 17"
    assert {name: span[name] for name in ("id", "feed", "seq", "position", "leaf")} == {
        name: receipt[name] for name in ("id", "feed", "seq", "position", "leaf")
    }
    assert receipt["checkpoint_size"] > receipt["seq"]
    assert receipt["duplicate"] is False


async def test_the_same_key_and_draft_again_is_the_same_span(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "order 17"}
    first = await http.post(SPANS, json={"kind": "order.paid"}, headers=key)
    again = await http.post(SPANS, json={"kind": "order.paid"}, headers=key)
    other = await http.post(SPANS, json={"kind": "order.sent"}, headers=key)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["duplicate"] is True
    assert again.json()["id"] == first.json()["id"]
    assert (other.status_code, code_of(other)) == (409, "idempotency.mismatch")


async def test_a_drafts_own_key_goes_before_the_requests(http: httpx.AsyncClient) -> None:
    first = await http.post(SPANS, json={"kind": "a.b", "idempotency_key": "own"}, headers={"Idempotency-Key": "one"})
    again = await http.post(SPANS, json={"kind": "a.b", "idempotency_key": "own"}, headers={"Idempotency-Key": "two"})
    new = await http.post(SPANS, json={"kind": "a.b"}, headers={"Idempotency-Key": "one"})

    assert again.json()["id"] == first.json()["id"]
    assert new.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 257, "a\tb", "é"], ids=["empty", "long", "tab", "not ascii"])
async def test_an_unusable_key_is_refused(http: httpx.AsyncClient, key: str) -> None:
    answer = await http.post(SPANS, json={"kind": "a.b"}, headers={b"Idempotency-Key": key.encode("latin-1")})

    assert code_of(answer) == "idempotency.invalid"


def signed(tenant: TenantId, *, kind: str = "order.paid", key: KeyPair = PERSON) -> list[Any]:
    """The elements of a draft as an actor sends it."""
    draft = Draft(kind=kind, title="signed", data=cbor2.dumps({"n": 1}), actor=PERSON_ID)
    return [*cbor2.loads(signed_array(draft)), key.sign(signing_message(tenant, draft)), None]


async def test_a_draft_signed_by_its_actor_is_shown_as_signed(services: Services, http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=cbor2.dumps(signed(tenant_of(services).tenant_id)), headers=CBOR)

    assert answer.status_code == 201
    span = (await http.get(f"{SPANS}/{answer.json()['id']}")).json()
    assert span["actor"] == format_logline(PERSON_ID)
    assert span["actor_signed"] is True


async def test_a_signature_holds_for_one_tenant_key_and_content(services: Services, http: httpx.AsyncClient) -> None:
    tenant = tenant_of(services).tenant_id
    changed = signed(tenant)
    changed[3] = "another title"

    for draft in (signed(TenantId(b"t" * 20)), signed(tenant, key=KeyPair(b"q" * 32)), changed):
        answer = await http.post(SPANS, content=cbor2.dumps(draft), headers=CBOR)
        assert (answer.status_code, code_of(answer)) == (422, "signature.wrong")


async def test_the_admin_may_name_an_actor_who_did_not_sign(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, json={"kind": "a.b", "actor": format_logline(PERSON_ID)})

    span = (await http.get(f"{SPANS}/{answer.json()['id']}")).json()
    assert span["actor"] == format_logline(PERSON_ID)
    assert span["actor_signed"] is False


async def test_a_member_may_not_name_an_actor_who_did_not_sign(services: Services) -> None:
    tenant = tenant_of(services)
    member = Principal("member", PERSON_ID, roles={tenant.tenant_id: Role.MEMBER})
    admission = Admission(Caller(services, member, tenant))

    with pytest.raises(CallerError) as refused:
        admission.admit(Draft(kind="a.b", actor=PERSON_ID), None)
    assert refused.value.code == "actor.unsigned"
    assert admission.admit(Draft(kind="a.b"), None) == Draft(kind="a.b")


async def test_only_an_owner_says_what_a_span_is_a_copy_of(services: Services) -> None:
    tenant = tenant_of(services)
    node = format_logline(logline(LogLineKind.NODE, bytes(32)))
    ids = (b32encode(bytes(24)), "1970-01-01T00:00:00.000Z", b32encode(bytes(20)), node, b32encode(bytes(16)))
    draft = Draft(kind="a.b", origin=Origin(*ids, 0, actor_signed=False, way="import"))

    for role in Role:
        someone = Principal("someone", PERSON_ID, roles={tenant.tenant_id: role})
        admission = Admission(Caller(services, someone, tenant))
        if role == Role.OWNER:
            assert admission.admit(draft, None) == draft
            continue
        with pytest.raises(CallerError) as refused:
            admission.admit(draft, None)
        assert (refused.value.code, refused.value.place) == ("role.insufficient", "origin")


async def test_no_client_writes_a_reserved_kind(services: Services, http: httpx.AsyncClient) -> None:
    one = await http.post(SPANS, json={"kind": "tenant.create"})
    two = await http.post(SPANS, content=lines(0, 1) + b'{"kind":"span.revert"}\n', headers=NDJSON)
    three = await http.post(
        SPANS, content=cbor2.dumps(signed(tenant_of(services).tenant_id, kind="feed.open")), headers=CBOR
    )

    assert [code_of(answer) for answer in (one, two, three)] == ["kind.reserved"] * 3
    assert two.json()["line"] == 2
    assert await stored(http) == [0]


async def test_no_span_has_a_cause_more_than_ten_minutes_ahead_of_now(
    services: Services, http: httpx.AsyncClient
) -> None:
    def caused_by(ahead_ms: int) -> dict[str, str]:
        hlc = services.world.now_ms() + ahead_ms << 16
        return {"kind": "note.made", "caused_by": b32encode(hlc.to_bytes(8, "big") + bytes(16))}

    near, far = caused_by(CLOCK_AHEAD_MS_MAX - 60_000), caused_by(CLOCK_AHEAD_MS_MAX + 60_000)
    assert (await http.post(SPANS, json=near)).status_code == 201  # not held, which is no reason to refuse it
    refused = [await http.post(SPANS, json=far, params=params) for params in ({}, {"dry_run": "true"})]
    assert [(code_of(answer), answer.json()["place"]) for answer in refused] == [("clock.ahead", "caused_by")] * 2


JSON: Final = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415, "media.unsupported"),
        ({}, b"{}", 415, "media.unsupported"),
        ({**JSON, "Content-Encoding": "gzip"}, b"{}", 415, "media.unsupported"),
        ({**NDJSON, "Content-Encoding": "br"}, b"{}", 415, "media.unsupported"),
        ({"Content-Type": "application/json; charset=utf-8"}, b'{"kind":"A"}', 422, "kind.invalid"),
        (JSON, b"", 400, "json.malformed"),
        (JSON, b'{"kind":"a.b","data":NaN}', 400, "json.number"),
        (JSON, b'{"kind":"a.b","title":"\xff"}', 400, "json.not_utf8"),
        (JSON, b'{"kind":"a.b","data":' + b"[" * 99 + b"]" * 99 + b"}", 400, "json.too_deep"),
        (JSON, b'{"kind":"a.b","data":"' + b"x" * (1 << 20) + b'"}', 413, "draft.too_large"),
        (JSON, b" " * (DRAFT_LINE_BYTES_MAX + 1), 413, "request.too_large"),
        (CBOR, b"\xff", 400, "cbor.malformed"),
    ],
)  # fmt: skip
async def test_what_cannot_be_appended_says_why(
    http: httpx.AsyncClient, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = await http.post(SPANS, content=content, headers=headers)

    assert (answer.status_code, code_of(answer)) == (status, code)


async def test_a_full_mailbox_answers_when_to_come_back(services: Services, http: httpx.AsyncClient) -> None:
    async with held_disk(services), trio.open_nursery() as nursery:
        for _ in range(MAILBOX_SPANS_MAX // 1000 + 2):
            nursery.start_soon(append_kinds, services, *["a.b"] * 1000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        answer = await http.post(SPANS, json={"kind": "a.b"})

        assert (answer.status_code, code_of(answer)) == (503, "writer.busy")
        assert int(answer.headers["Retry-After"]) > 0
        nursery.cancel_scope.cancel()
