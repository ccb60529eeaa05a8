"""Routes about invites, members and joining."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from lognode.api.federation import invites, join, members
from lognode.api.services import Services
from lognode.core.ids import b32encode
from lognode.federation.invites.invitation import format_invitation, parse_invitation
from lognode.federation.invites.messages import Waiting, decode_answer, encode_request, sign_request
from lognode.federation.invites.words import words_of
from lognode.service.reload import Configuration
from tests.api import serving
from tests.api.serving import TENANT, code_of, http_client
from tests.timeline.members.nodes import keys_of

INVITES = f"{TENANT}/invites"
MEMBERS = f"{TENANT}/members"


@pytest.fixture
async def http(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(serving, "REGISTRATIONS", (invites.register, members.register, join.register))
    monkeypatch.setattr("lognode.federation.invites.service.issuing.LISTEN_S_MAX", 0)
    async with serving.serve(services) as url, http_client(services, url) as client:
        yield client


async def issue(http: httpx.AsyncClient, **terms: Any) -> dict[str, Any]:
    answer = await http.post(INVITES, json=terms)
    assert answer.status_code == 201
    issued: dict[str, Any] = answer.json()
    return issued


async def ask(services: Services, issued: dict[str, Any], joiner: str) -> Any:
    """What a joiner is told that comes with an invite."""
    request = sign_request(keys_of(joiner), parse_invitation(issued["invite"]), services.node_public, bytes(16), ())
    return decode_answer(await services.desk.admissions.answer(encode_request(request)))


async def test_an_invite_is_made_listed_used_and_revoked(http: httpx.AsyncClient, services: Services) -> None:
    issued = await issue(http, uses=2)
    assert (issued["level"], issued["approve"], issued["listening"]) == ("trusted", False, False)
    await ask(services, issued, "joiner")

    (listed,) = (await http.get(INVITES)).json()["invites"]
    assert (listed["id"], listed["state"], listed["uses"]) == (issued["id"], "open", 2)
    assert [node.rpartition("/")[2] for node in listed["joined"]] == [b32encode(keys_of("joiner").public)]
    assert (await http.delete(f"{INVITES}/{issued['id']}")).json()["receipt"]["seq"] > 0
    assert (await http.delete(f"{INVITES}/{issued['id']}")).json() == {"id": issued["id"], "receipt": None}
    assert (await http.get(INVITES)).json()["invites"][0]["state"] == "revoked"


async def test_a_member_is_listed_changed_and_removed(http: httpx.AsyncClient, services: Services) -> None:
    await ask(services, await issue(http), "joiner")
    key = b32encode(keys_of("joiner").public)
    listed = (await http.get(MEMBERS)).json()["members"]

    assert [(member["level"], member["self"]) for member in listed] == [("root", True), ("trusted", False)]
    tenant_id = services.store.tenants["default"].tenant_id
    assert listed[1]["words"] == words_of(tenant_id, keys_of("joiner").public, services.node_public)
    changed = (await http.patch(f"{MEMBERS}/{key}", json={"level": "observer"})).json()
    assert (changed["level"], changed["effective"], changed["removed"]) == ("observer", True, False)
    again = (await http.patch(f"{MEMBERS}/{key}", json={"level": "observer"})).json()
    assert (again["effective"], again["receipt"]) == (True, None)
    removed = (await http.request("DELETE", f"{MEMBERS}/{key}", json={"reason": "lost"})).json()
    assert (removed["effective"], removed["removed"]) == (True, True)
    twice = (await http.request("DELETE", f"{MEMBERS}/{key}", json={})).json()
    assert (twice["removed"], twice["receipt"], twice["removal_votes"]) == (True, None, None)
    assert code_of(await http.patch(f"{MEMBERS}/{key}", json={"level": "root"})) == "member.gone"
    assert code_of(await http.request("DELETE", f"{MEMBERS}/{'0' * 52}", json={})) == "member.unknown"


async def test_who_waits_is_listed_with_the_words_that_it_shows(http: httpx.AsyncClient, services: Services) -> None:
    issued = await issue(http, approve=True)
    assert isinstance(await ask(services, issued, "joiner"), Waiting)
    (waiting,) = (await http.get(f"{MEMBERS}/pending")).json()["pending"]
    key, tenant_id = keys_of("joiner").public, services.store.tenants["default"].tenant_id

    assert waiting["words"] == words_of(tenant_id, key, services.node_public)
    assert (waiting["invite"], waiting["level"]) == (issued["id"], "trusted")
    approved = (await http.post(f"{MEMBERS}/pending/{b32encode(key)}")).json()
    admission = services.desk.ground.membership(services.store.tenants["default"]).members[key].admission
    assert approved["admission"] == b32encode(admission)
    assert (await http.get(f"{MEMBERS}/pending")).json() == {"pending": []}
    assert code_of(await http.post(f"{MEMBERS}/pending/{b32encode(key)}")) == "member.not_waiting"


async def test_joining_says_what_is_wrong_and_shows_no_secret(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.federation.invites.service.joining.JOIN_SEARCH_S_MAX", 0)
    issued = await issue(http)
    invitation = parse_invitation(issued["invite"])
    elsewhere = format_invitation(invitation._replace(tenant=b"t" * 20))  # type: ignore[arg-type]
    own = (await http.post("/v1/node/join", json={"invite": issued["invite"]})).json()
    assert (own["state"], own["name"], own["words"]) == ("member", "default", None)
    for text, code in (
        ("hello", "invite.malformed"),
        (issued["invite"] + "0", "invite.altered"),
        (elsewhere, "invite.unanswered"),
    ):
        answer = await http.post("/v1/node/join", json={"invite": text})
        assert code_of(answer) == code
        assert text[40:80] not in answer.text or len(text) < 40


async def test_a_node_that_keeps_to_itself_joins_nothing(http: httpx.AsyncClient, services: Services) -> None:
    issued = await issue(http)
    assert isinstance(services.settings, Configuration)
    services.settings.settings = replace(services.settings.settings, federation=False)

    assert code_of(await http.post("/v1/node/join", json={"invite": issued["invite"]})) == "federation.off"
    assert code_of(await http.post(INVITES, json={})) == "federation.off"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"uses": 0}, "invite.terms"),
        ({"uses": 10_001}, "invite.terms"),
        ({"expires_s": 0}, "invite.terms"),
        ({"level": "blocked"}, "request.malformed"),
        ({"usess": 1}, "request.malformed"),
        ({"uses": "1"}, "request.malformed"),
        ([], "request.malformed"),
    ],
)
async def test_terms_that_cannot_be_are_refused(http: httpx.AsyncClient, body: Any, code: str) -> None:
    assert code_of(await http.post(INVITES, json=body)) == code
    assert (await http.get(INVITES)).json() == {"invites": []}


async def test_what_no_route_takes_is_refused(http: httpx.AsyncClient) -> None:
    assert code_of(await http.post(INVITES, content=b"{}")) == "media.unsupported"
    assert code_of(await http.get(f"{INVITES}?limit=1")) == "filter.invalid"
    assert code_of(await http.delete(f"{INVITES}/{'0' * 26}")) == "invite.unknown"
    assert code_of(await http.delete(f"{INVITES}/nonsense")) == "id.malformed"
    assert code_of(await http.patch(f"{MEMBERS}/{'0' * 52}", json={"level": "root"})) == "member.unknown"
    large = await http.post("/v1/node/join", json={"invite": "x" * 100_000})
    assert code_of(large) == "request.too_large"
