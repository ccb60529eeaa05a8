"""State over HTTP: subjects, conflicts, reverts and policies."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.ids import SpanId, b32encode
from lognode.core.span import PUBLIC
from lognode.identity.keys import NodeKeys
from lognode.timeline.members import Membership
from tests.api.serving import SPANS, TENANT, code_of, http_client, serve, tenant_of
from tests.engine.receivers import keys_of
from tests.timeline.pens import Pen, admitted

SUBJECTS = f"{TENANT}/subjects"
CONFLICTS = f"{TENANT}/conflicts"


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def say(http: httpx.AsyncClient, subject: str, value: Any, **draft: Any) -> str:
    answer = await http.post(SPANS, json={"kind": "tap.set", "subject": subject, "data": value, **draft})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def look(http: httpx.AsyncClient, subject: str) -> Any:
    answer = await http.get(f"{SUBJECTS}/{quote(subject, safe='').replace('.', '%2E')}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def hear(services: Services, number: int, **values: Any) -> list[str]:
    """What another member says of subjects, without knowing of anything here; the ids of its spans."""
    tenant, keys = tenant_of(services), keys_of(number)
    server = NodeKeys.from_seed(bytes(range(32)))

    def build(_members: Membership, after: list[SpanId]) -> bytes:
        return admitted(keys, server, tenant.tenant_id, after, Level.TRUSTED)

    receipt = await services.writer.append_control(tenant, "member.admit", build)
    pen = Pen(keys, tenant.tenant_id, [receipt.id])
    said = [pen.write("tap.set", encode(value), subject=name, visibility=PUBLIC) for name, value in values.items()]
    assert await services.writer.ingest(tenant, [pen.range()]) == [len(pen.entries)]
    return [b32encode(span) for span in said]


@pytest.mark.parametrize("subject", ["tap 1", "a/b", "/", "//x", "täp?&#%2F\n", ".", "..", "x" * 4096])
async def test_any_text_is_a_subject_and_the_newest_span_about_it_holds(http: httpx.AsyncClient, subject: str) -> None:
    await say(http, subject, 1)
    newest = await say(http, subject, {"open": True}, title="opened")
    found = await look(http, subject)
    assert (found["subject"], found["holds"]["span"], found["holds"]["value"]) == (subject, newest, {"open": True})
    assert (found["holds"]["title"], found["conflict"], found["local"]) == ("opened", None, None)
    assert found["settled"]
    history = (await http.get(found["history"])).json()
    assert [span["data"] for span in history["spans"]] == [{"open": True}, 1]


async def test_nothing_is_known_of_what_no_span_is_about(http: httpx.AsyncClient) -> None:
    await say(http, "tap 10", 1)
    await http.post(SPANS, json={"kind": "note", "subject": "tried", "status": "simulated"})
    for subject in ("tap 1", "tried", "tap"):
        assert code_of(await http.get(f"{SUBJECTS}/{subject}")) == "subject.unknown"
    assert code_of(await http.get(f"{SUBJECTS}/tap 10?x=1")) == "filter.invalid"


async def test_subjects_are_listed_by_text_page_by_page(http: httpx.AsyncClient) -> None:
    names = ["a", "b/1", "b/2", "b/3", "c"]
    for name in reversed(names):
        await say(http, name, name)
    page = (await http.get(SUBJECTS)).json()
    assert ([each["subject"] for each in page["subjects"]], page["next"]) == (names, None)
    page = (await http.get(SUBJECTS, params={"prefix": "b/", "limit": "2"})).json()
    assert ([each["subject"] for each in page["subjects"]], page["next"]) == (["b/1", "b/2"], "b/2")
    page = (await http.get(SUBJECTS, params={"prefix": "b/", "limit": "2", "after": "b/2"})).json()
    assert ([each["subject"] for each in page["subjects"]], page["next"]) == (["b/3"], None)
    for params in ({"limit": "0"}, {"limit": "101"}, {"x": "1"}, {"limit": "²"}):
        assert code_of(await http.get(SUBJECTS, params=params)) == "filter.invalid"


async def test_a_span_is_taken_back_once_and_the_revert_may_be_too(http: httpx.AsyncClient) -> None:
    first, second = await say(http, "tap 1", 1), await say(http, "tap 1", 2)
    answer = await http.post(f"{SPANS}/{second}/revert", json={"reason": "wrong tap"})
    assert answer.status_code == 201
    assert (await look(http, "tap 1"))["holds"]["span"] == first
    shown = (await http.get(f"{SPANS}/{answer.json()['id']}")).json()
    assert (shown["kind"], shown["title"], shown["caused_by"], shown["subject"]) == (
        "span.revert", "wrong tap", second, "tap 1"
    )  # fmt: skip
    assert (await http.get(f"{SPANS}/{second}")).json()["reverted_by"] == [answer.json()["id"]]
    assert "reverted_by" not in (await http.get(f"{SPANS}/{first}")).json()
    assert code_of(await http.post(f"{SPANS}/{second}/revert", json={})) == "revert.done"
    await http.post(f"{SPANS}/{answer.json()['id']}/revert", json={})
    assert (await look(http, "tap 1"))["holds"]["span"] == second
    assert "reverted_by" not in (await http.get(f"{SPANS}/{second}")).json()


async def test_what_nodes_write_is_not_taken_back(http: httpx.AsyncClient) -> None:
    opened = (await http.get(SPANS, params={"kind": "feed.open"})).json()["spans"][0]["id"]
    assert code_of(await http.post(f"{SPANS}/{opened}/revert", json={})) == "revert.refused"
    assert code_of(await http.post(f"{SPANS}/{'0' * 39}/revert", json={})) == "span.unknown"
    assert code_of(await http.post(f"{SPANS}/{opened}/revert", json={"why": "x"})) == "request.malformed"
    answer = await http.post(SPANS, json={"kind": "span.revert", "caused_by": opened})
    assert code_of(answer) == "kind.reserved"


async def test_private_spans_are_shown_beside_the_state_and_change_nothing_of_it(http: httpx.AsyncClient) -> None:
    shared = await say(http, "tap 1", 1)
    private = await say(http, "tap 1", 2, visibility="private")
    found = await look(http, "tap 1")
    assert (found["holds"]["span"], found["local"]["span"], found["local"]["value"]) == (shared, private, 2)
    await http.post(f"{SPANS}/{private}/revert", json={})
    assert (await look(http, "tap 1"))["local"] is None
    await say(http, "mine", 3, visibility="private")
    assert (await look(http, "mine"))["holds"] is None


async def test_of_two_nodes_that_knew_nothing_of_each_other_the_greater_id_holds(
    services: Services, http: httpx.AsyncClient
) -> None:
    ours = await say(http, "tap", "ours")
    (theirs,) = await hear(services, 2, tap="theirs")
    found = await look(http, "tap")
    conflict = found["conflict"]
    assert (conflict["policy"], conflict["open"], conflict["count"]) == ("latest", False, 2)
    assert [head["span"] for head in conflict["heads"]] == sorted([ours, theirs], reverse=True)
    assert found["holds"] == conflict["heads"][0]
    assert not found["settled"]
    listed = (await http.get(CONFLICTS)).json()
    assert listed == {"subjects": [found], "next": None}
    assert (await http.get(CONFLICTS, params={"open": "true"})).json()["subjects"] == []


async def test_with_the_policy_manual_nothing_holds_until_somebody_decides(
    services: Services, http: httpx.AsyncClient
) -> None:
    assert (await http.get(f"{TENANT}/policies")).json() == {"policies": {}, "default": "latest"}
    assert (await http.put(f"{TENANT}/policies/tap.set", json={"policy": "manual"})).status_code == 201
    assert (await http.get(f"{TENANT}/policies")).json()["policies"] == {"tap.set": "manual"}
    ours = await say(http, "tap", "ours")
    (theirs,) = await hear(services, 2, tap="theirs")
    found = await look(http, "tap")
    assert (found["holds"], found["conflict"]["open"], found["conflict"]["policy"]) == (None, True, "manual")
    assert [each["subject"] for each in (await http.get(CONFLICTS, params={"open": "true"})).json()["subjects"]] == [
        "tap"
    ]

    choice = {"subject": "tap", "span": ours}
    answer = (await http.post(f"{CONFLICTS}/resolve", json=choice)).json()
    resolution = answer["receipt"]["id"]
    assert (await http.get(f"{SPANS}/{resolution}")).json()["data"] == {"chosen": ours, "over": [theirs]}
    assert answer["subject"]["conflict"] is None
    assert (answer["subject"]["holds"]["span"], answer["subject"]["holds"]["resolution"]) == (ours, resolution)
    assert code_of(await http.post(f"{CONFLICTS}/resolve", json=choice)) == "conflict.none"

    await http.post(f"{SPANS}/{resolution}/revert", json={})
    assert (await look(http, "tap"))["conflict"]["open"]


async def test_only_a_head_can_be_chosen_and_only_policies_that_there_are(
    services: Services, http: httpx.AsyncClient
) -> None:
    await say(http, "tap", "ours")
    await hear(services, 2, tap="theirs")
    choice = {"subject": "tap", "span": "0" * 39}
    assert code_of(await http.post(f"{CONFLICTS}/resolve", json=choice)) == "conflict.unknown_head"
    assert code_of(await http.post(f"{CONFLICTS}/resolve", json={**choice, "span": "x"})) == "id.malformed"
    for kind, policy, code in (
        ("tap.set", "none", "request.malformed"),
        ("Tap", "manual", "kind.invalid"),
        ("span.x", "manual", "kind.reserved"),
    ):
        assert code_of(await http.put(f"{TENANT}/policies/{kind}", json={"policy": policy})) == code


async def test_making_it_all_again_changes_nothing_and_mends_what_is_wrong(
    services: Services, http: httpx.AsyncClient
) -> None:
    await say(http, "tap", "ours")
    (theirs,) = await hear(services, 2, tap="theirs")
    await http.post(f"{SPANS}/{theirs}/revert", json={})
    tables = (await http.post(f"{TENANT}/state/rebuild")).json()["tables"]
    assert {name: each["changed"] for name, each in tables.items()} == dict.fromkeys(tables, 0)
    assert tables["latest"]["rows"] == 2
    before = await look(http, "tap")
    await services.store.write(lambda conn: conn.executescript("DELETE FROM latest; DELETE FROM reverts"))
    assert code_of(await http.get(f"{SUBJECTS}/tap")) == "subject.unknown"
    tables = (await http.post(f"{TENANT}/state/rebuild")).json()["tables"]
    assert (tables["latest"]["changed"], tables["reverts"]["changed"]) == (2, 1)
    assert await look(http, "tap") == before
