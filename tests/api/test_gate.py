"""Gate rules over HTTP: what is refused, marked, tried or counted, and whom that touches."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import httpx
import pytest

from lognode.api.services import Services
from tests.api.serving import NDJSON, SPANS, TENANT, code_of, http_client, serve

RULES: Final = b"""rules: gate
do:
  - id: no-bob
    on: draft
    kinds: [login]
    if: {equals: {data.who: bob}}
    then: [{reject: "{data.who} may not log in"}]
  - id: mark
    on: draft
    kinds: [login]
    if: {equals: {data.who: root}}
    then: [{add_tag: mighty}]
  - id: trial
    on: draft
    kinds: [login]
    if: {equals: {data.who: new}}
    then: [{simulate: a trial first}]
  - id: too-many
    on: draft
    kinds: [login]
    windows: {logins: {over: 5m, by: data.who}}
    if: {greater_than: {windows.logins: 3}}
    then: [{reject: "{windows.logins} times"}]
"""


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a tenant in which the rules are in force."""
    async with serve(services) as url, http_client(services, url) as client:
        answer = await client.post(f"{TENANT}/rules", content=RULES, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 201, answer.text
        yield client


def login(who: str, **said: Any) -> dict[str, Any]:
    return {"kind": "login", "data": {"who": who}, **said}


async def stream(http: httpx.AsyncClient, drafts: Iterable[dict[str, Any]], **params: str) -> httpx.Response:
    lines = "\n".join(map(json.dumps, drafts))
    return await http.post(SPANS, content=lines, headers=NDJSON, params=params)


async def found(http: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    answer = await http.get(SPANS, params={"sort": "asc", **params})
    return list(answer.json()["spans"])


async def logins(http: httpx.AsyncClient) -> list[str]:
    return [span["data"]["who"] for span in await found(http, kind="login")]


async def test_a_rejected_span_is_answered_with_its_rule_and_is_not_there(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, json=login("bob"))
    assert (answer.status_code, code_of(answer)) == (422, "rule.rejected")
    said = answer.json()
    assert (said["set"], said["rule"], said["place"]) == ("gate", "no-bob", "gate/no-bob")
    assert "bob may not log in" in said["detail"]
    assert await logins(http) == []
    (fired,) = await found(http, kind="rule.fired")
    assert (fired["caused_by"], fired["data"]["verdict"]) == (None, "reject")


async def test_a_stream_ends_at_the_line_that_is_rejected_and_says_what_is_in(http: httpx.AsyncClient) -> None:
    drafts = [login(who, idempotency_key=who) for who in ("ann", "eve", "bob", "joe")]
    answer = await stream(http, drafts)
    said = answer.json()
    assert (answer.status_code, code_of(answer)) == (422, "rule.rejected")
    assert (said["line"], said["appended"], said["duplicates"], said["rule"]) == (3, 2, 0, "no-bob")
    assert await logins(http) == ["ann", "eve"]
    assert said["last"]["id"] == (await found(http, kind="login"))[-1]["id"]

    again = (await stream(http, drafts)).json()
    assert (again["line"], again["appended"], again["duplicates"]) == (3, 0, 2)
    rest = (await stream(http, drafts[:2] + drafts[3:])).json()
    assert (rest["appended"], rest["duplicates"]) == (1, 2)
    assert await logins(http) == ["ann", "eve", "joe"]


async def test_a_rejected_key_is_free_and_a_taken_one_is_not_judged_again(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert code_of(await http.post(SPANS, json=login("bob"), headers={"Idempotency-Key": "k"})) == "rule.rejected"
    receipt = (await http.post(SPANS, json=login("ann"), headers={"Idempotency-Key": "k"})).json()
    for _ in range(5):  # more often than the window would let through
        again = (await http.post(SPANS, json=login("ann"), headers={"Idempotency-Key": "k"})).json()
        assert (again["id"], again["duplicate"]) == (receipt["id"], True)
    assert await logins(http) == ["ann"]


async def test_a_tag_that_a_rule_added_finds_the_span(http: httpx.AsyncClient) -> None:
    await stream(http, [login("ann"), login("root", tags=["own"])])
    (span,) = await found(http, tag="mighty")
    assert [span] == await found(http, tag="own")
    assert (span["data"]["who"], span["tags"], span["status"]) == ("root", ["own"], "executed")
    assert span["annotations"]["rules"]["tags"] == ["mighty"]
    (fired,) = await found(http, kind="rule.fired")
    assert fired["caused_by"] == span["id"]


async def test_a_rule_makes_a_trial_of_a_span_also_when_it_comes_again(http: httpx.AsyncClient) -> None:
    receipt = (await http.post(SPANS, json=login("new"), headers={"Idempotency-Key": "k"})).json()
    again = (await http.post(SPANS, json=login("new"), headers={"Idempotency-Key": "k"})).json()
    assert (again["id"], again["duplicate"]) == (receipt["id"], True)
    (span,) = await found(http, kind="login", status="simulated")
    assert span["id"] == receipt["id"]


async def test_a_window_lets_so_many_through_in_one_call_and_over_several(http: httpx.AsyncClient) -> None:
    said = (await stream(http, [login("ann"), login("eve")] * 5)).json()
    assert (said["line"], said["appended"], said["detail"].endswith("4 times")) == (7, 6, True)
    for who in ("ann", "eve"):
        assert code_of(await http.post(SPANS, json=login(who))) == "rule.rejected"
    assert (await http.post(SPANS, json=login("joe"))).is_success
    assert await logins(http) == ["ann", "eve"] * 3 + ["joe"]


async def test_another_tenant_is_not_touched(services: Services, http: httpx.AsyncClient) -> None:
    await services.writer.create_tenant("theirs")
    theirs = SPANS.replace("default", "theirs")
    for _ in range(5):
        for draft in (login("bob"), login("root")):
            assert (await http.post(theirs, json=draft)).is_success
    assert (await http.get(theirs, params={"kind": "rule.fired"})).json()["spans"] == []
    assert (await http.get(theirs, params={"tag": "mighty"})).json()["spans"] == []
    for _ in range(3):  # what they wrote is in no window of ours
        assert (await http.post(SPANS, json=login("root"))).is_success


async def test_a_rehearsal_says_what_the_rules_would_and_leaves_nothing(http: httpx.AsyncClient) -> None:
    answer = await stream(http, [login("ann"), login("bob")], dry_run="true")
    assert (code_of(answer), answer.json()["line"]) == ("rule.rejected", 2)
    assert await found(http, kind="login") == await found(http, kind="rule.fired") == []
    assert code_of(await http.post(SPANS, json=login("bob"))) == "rule.rejected"
    assert len(await found(http, kind="rule.fired")) == 1  # the first one that anybody was told of
