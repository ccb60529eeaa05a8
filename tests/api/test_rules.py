"""Rule sets over HTTP: publishing, versions, conditions, and what has no effect."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, Final

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.core.access import Level
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, RULE_SET_BYTES_MAX, RULE_SETS_MAX
from lognode.core.span import PRIVATE, SIMULATED
from lognode.engine.service.ruling.publishing import Publishing
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.rules.publications import DISABLE, PUBLISH, rule_disable_data, rule_publish_data
from lognode.timeline.control.founding import tenant_create_data, tenant_id
from lognode.timeline.control.members import member_level_data
from lognode.timeline.members import Membership
from tests.api.serving import SPANS, TENANT, code_of, http_client, serve, tenant_of
from tests.engine.receivers import keys_of
from tests.timeline.pens import Pen, admitted

RULES: Final = f"{TENANT}/rules"
YAML: Final = {"Content-Type": "application/yaml"}
JSON: Final = {"Content-Type": "application/json"}


def text_of(name: str, *ids: str, reason: str = "no") -> bytes:
    rules = [
        f'  - id: {id_}\n    on: draft\n    kinds: [login.failed]\n    then: [{{note: "{reason}"}}]\n' for id_ in ids
    ]
    return f"rules: {name}\ndescription: Of {name}\ndo:\n{''.join(rules)}".encode()


def hash_of(text: bytes) -> str:
    return sha256(text).hexdigest()


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def publish(http: httpx.AsyncClient, text: bytes, **headers: str) -> dict[str, Any]:
    answer = await http.post(RULES, content=text, headers={**YAML, **headers})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_rule_set_is_published_shown_and_listed(services: Services, http: httpx.AsyncClient) -> None:
    text = text_of("logins", "first", "second")
    answer = await http.post(RULES, content=text, headers=YAML)
    assert answer.status_code == 201, answer.text
    assert (answer.status_code, answer.headers["ETag"]) == (201, f'"{hash_of(text)}"')
    said = answer.json()
    assert (said["name"], said["version"], said["before"], said["dry_run"]) == ("logins", hash_of(text), None, False)
    assert [(each["rule"], each["change"]) for each in said["changes"]["rules"]] == [
        ("first", "added"),
        ("second", "added"),
    ]
    answer = await http.get(f"{RULES}/logins")
    shown = answer.json()
    assert answer.headers["ETag"] == f'"{hash_of(text)}"'
    assert (shown["text"].encode(), shown["media"], shown["in_force"]) == (text, "yaml", True)
    assert [(rule["id"], rule["on"], rule["kinds"], rule["line"]) for rule in shown["rules"]] == [
        ("first", "draft", ["login.failed"], 4),
        ("second", "draft", ["login.failed"], 8),
    ]
    (listed,) = (await http.get(RULES)).json()["rules"]
    assert (listed["name"], listed["in_force"], listed["description"], listed["rules"]) == (
        "logins",
        True,
        "Of logins",
        2,
    )
    assert listed["published"] == shown["published"]
    span = (await http.get(f"{SPANS}/{said['receipt']['id']}")).json()
    assert (span["kind"], span["visibility"], span["title"]) == (PUBLISH, "organization", "logins, 2 rules")
    assert span["data"]["text"].encode() == text
    assert (span["data"]["version"], span["actor"]) == (hash_of(text), None)
    newest = services.desk.ground.membership(tenant_of(services)).levels.links.keys()
    assert set(span["data"]["after"]) <= {b32encode(one) for one in newest}


async def test_publishing_again_makes_versions_and_the_same_text_makes_none(http: httpx.AsyncClient) -> None:
    one, two = text_of("a", "x"), text_of("a", "x", "y", reason="never")
    await publish(http, one)
    again = await http.post(RULES, content=one, headers=YAML)
    assert (again.status_code, again.json()["receipt"], again.json()["before"]) == (200, None, hash_of(one))
    said = await publish(http, two)
    assert (said["before"], said["version"]) == (hash_of(one), hash_of(two))
    assert said["changes"] == {
        "fields": [],
        "rules": [
            {"rule": "x", "change": "changed", "fields": ["then"]},
            {"rule": "y", "change": "added", "fields": []},
        ],
    }
    found = (await http.get(f"{RULES}/a/versions")).json()["versions"]
    assert [(each["version"], each["in_force"], each["void"]) for each in found] == [
        (hash_of(two), True, None),
        (hash_of(one), False, None),
    ]
    shown = (await http.get(f"{RULES}/a", params={"version": hash_of(one)[:8]})).json()
    assert (shown["text"].encode(), shown["in_force"]) == (one, False)


async def test_versions_are_compared_rule_by_rule(http: httpx.AsyncClient) -> None:
    one, two = text_of("a", "x", "z"), text_of("a", "x", "y")
    await publish(http, one)
    await publish(http, two)
    params = {"from": hash_of(one)[:10]}
    expected = {
        "fields": [],
        "rules": [
            {"rule": "y", "change": "added", "fields": []},
            {"rule": "z", "change": "removed", "fields": []},
        ],
    }
    for more in ({}, {"to": hash_of(two)}):
        answer = (await http.get(f"{RULES}/a/diff", params={**params, **more})).json()
        assert (answer["from"], answer["to"]) == (hash_of(one), hash_of(two))
        assert answer["changes"] == expected
    answer = (await http.get(f"{RULES}/a/diff", params={"from": hash_of(one), "to": hash_of(one)})).json()
    assert answer["changes"] == {"fields": [], "rules": []}
    assert code_of(await http.get(f"{RULES}/a/diff")) == "filter.invalid"
    assert code_of(await http.get(f"{RULES}/a/diff", params={"from": "x"})) == "version.malformed"
    assert code_of(await http.get(f"{RULES}/a/diff", params={"from": "0" * 64})) == "rule.unknown_version"


async def test_what_is_disabled_is_in_force_no_more_and_can_be_published_again(http: httpx.AsyncClient) -> None:
    text = text_of("a", "x")
    await publish(http, text)
    answer = await http.delete(f"{RULES}/a")
    assert (answer.status_code, answer.json()["version"], answer.json()["before"]) == (201, None, hash_of(text))
    assert "ETag" not in answer.headers
    (listed,) = (await http.get(RULES)).json()["rules"]
    assert (listed["in_force"], listed["version"], listed["published"]["void"]) == (False, None, None)
    again = await http.delete(f"{RULES}/a")
    assert (again.status_code, again.json()["receipt"]) == (200, None)
    shown = (await http.get(f"{RULES}/a")).json()
    assert (shown["in_force"], shown["version"]) == (False, hash_of(text))
    assert (await publish(http, text))["before"] is None
    versions = (await http.get(f"{RULES}/a/versions")).json()["versions"]
    assert [each["version"] for each in versions] == [hash_of(text), None, hash_of(text)]
    assert [each["in_force"] for each in versions] == [True, False, False]
    assert code_of(await http.delete(f"{RULES}/b")) == "rule.unknown"


async def test_an_earlier_version_is_rolled_back_to(http: httpx.AsyncClient) -> None:
    one, two = text_of("a", "x"), text_of("a", "y")
    await publish(http, one)
    await publish(http, two)
    answer = await http.post(f"{RULES}/a/rollback", json={"version": hash_of(one)[:12]})
    assert (answer.status_code, answer.json()["version"], answer.json()["before"]) == (201, hash_of(one), hash_of(two))
    assert (await http.get(f"{RULES}/a")).json()["text"].encode() == one
    await http.delete(f"{RULES}/a")
    answer = await http.post(f"{RULES}/a/rollback", json={"version": hash_of(two)})
    assert (answer.status_code, answer.json()["before"]) == (201, None)
    for version in ("0" * 64, "", "X", '"'):
        answer = await http.post(f"{RULES}/a/rollback", json={"version": version})
        assert code_of(answer) in {"rule.unknown_version", "version.malformed"}
    assert code_of(await http.post(f"{RULES}/b/rollback", json={"version": "0"})) == "rule.unknown"


async def test_who_names_the_version_that_it_knows_changes_no_other(http: httpx.AsyncClient) -> None:
    one, two, three = (text_of("a", name) for name in ("x", "y", "z"))

    async def change(text: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http.post(RULES, content=text, headers={**YAML, **named})

    assert code_of(await change(one, If_Match=f'"{hash_of(one)}"')) == "rule.changed"
    assert (await change(one, If_None_Match="*")).status_code == 201
    refused = await change(two, If_None_Match="*")
    assert (refused.status_code, code_of(refused), refused.json()["version"]) == (412, "rule.changed", hash_of(one))
    assert (await change(two, If_Match=f'"{hash_of(one)}"')).status_code == 201
    assert code_of(await change(three, If_Match=f'"{hash_of(one)}"')) == "rule.changed"
    for path, body in ((f"{RULES}/a", None), (f"{RULES}/a/rollback", {"version": hash_of(one)})):
        method = "DELETE" if body is None else "POST"
        answer = await http.request(method, path, json=body, headers={"If-Match": f'"{hash_of(one)}"'})
        assert code_of(answer) == "rule.changed"
    for headers in ({"If_Match": hash_of(one)}, {"If_Match": "*"}, {"If_None_Match": f'"{hash_of(one)}"'}):
        assert code_of(await change(three, **headers)) == "version.malformed"
    assert (await http.get(f"{RULES}/a")).json()["version"] == hash_of(two)


async def test_of_many_who_change_one_version_at_once_one_does(http: httpx.AsyncClient) -> None:
    first = text_of("a", "x")
    await publish(http, first)
    answers: list[httpx.Response] = []

    async def change(number: int) -> None:
        text = text_of("a", f"rule-{number}")
        answers.append(await http.post(RULES, content=text, headers={**YAML, "If-Match": f'"{hash_of(first)}"'}))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(change, number)
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * 5
    assert len((await http.get(f"{RULES}/a/versions")).json()["versions"]) == 2


async def test_a_dry_run_says_what_would_come_of_it_and_writes_nothing(http: httpx.AsyncClient) -> None:
    text, params = text_of("a", "x"), {"dry_run": "true"}
    answer = await http.post(RULES, content=text, headers=YAML, params=params)
    said = answer.json()
    assert (answer.status_code, said["version"], said["receipt"], said["dry_run"]) == (200, hash_of(text), None, True)
    assert (await http.get(RULES)).json() == {"rules": [], "next": None}
    await publish(http, text)
    assert (await http.delete(f"{RULES}/a", params=params)).json()["before"] == hash_of(text)
    assert (await http.get(f"{RULES}/a")).json()["in_force"]
    assert code_of(await http.post(RULES, content=b"x", headers=YAML, params=params)) == "rule.wrong_type"
    assert code_of(await http.post(RULES, content=text, headers=YAML, params={"dry_run": "1"})) == "filter.invalid"


async def test_all_mistakes_of_a_text_are_told_with_their_places(http: httpx.AsyncClient) -> None:
    text = b"rules: A\ndo:\n  - id: x\n    on: draft\n    thn: [{reject: no}]\n  - id: x\n    on: draft\n    then: []\n"
    answer = await http.post(RULES, content=text, headers=YAML)
    problem = answer.json()
    assert answer.status_code == 422
    assert problem["count"] == len(problem["faults"]) > 3
    assert problem["faults"][0] == {**problem["faults"][0], "line": 1, "column": 8, "code": problem["code"]}
    assert {fault["line"] for fault in problem["faults"]} >= {1, 5, 8}
    assert (await http.get(RULES)).json()["rules"] == []


async def test_only_texts_of_rule_sets_are_taken(http: httpx.AsyncClient) -> None:
    text = text_of("a", "x")
    assert code_of(await http.post(RULES, content=text)) == "media.unsupported"
    assert code_of(await http.post(RULES, content=text, headers={"Content-Type": "text/plain"})) == "media.unsupported"
    large = text + b"#" * RULE_SET_BYTES_MAX
    assert code_of(await http.post(RULES, content=large, headers=YAML)) == "rule.too_large"
    assert code_of(await http.post(RULES, content=3 * large, headers=YAML)) == "request.too_large"
    assert code_of(await http.post(RULES, content=text, headers=YAML, params={"x": "1"})) == "filter.invalid"
    as_json = b'{"rules": "a", "do": [{"id": "x", "on": "draft", "then": [{"reject": "no"}]}]}'
    answer = await http.post(RULES, content=as_json, headers=JSON)
    assert answer.status_code == 201, answer.text
    assert (await http.get(f"{RULES}/a")).json()["media"] == "json"
    assert code_of(await http.post(RULES, content=text, headers=JSON)) == "rule.malformed"


@pytest.mark.parametrize("kind", [PUBLISH, DISABLE, "rule.fired"])
async def test_nobody_appends_rule_spans_as_spans(http: httpx.AsyncClient, kind: str) -> None:
    assert code_of(await http.post(SPANS, json={"kind": kind, "data": [[], "a"]})) == "kind.reserved"


async def test_lists_come_page_by_page(http: httpx.AsyncClient) -> None:
    for name in ("c", "a", "b"):
        await publish(http, text_of(name, "x"))
    page = (await http.get(RULES, params={"limit": "2"})).json()
    assert ([each["name"] for each in page["rules"]], page["next"]) == (["a", "b"], "b")
    page = (await http.get(RULES, params={"limit": "2", "after": "b"})).json()
    assert ([each["name"] for each in page["rules"]], page["next"]) == (["c"], None)
    for params in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"x": "1"}):
        assert code_of(await http.get(RULES, params=params)) == "filter.invalid"
    assert code_of(await http.get(f"{RULES}/nobody")) == "rule.unknown"
    assert code_of(await http.get(f"{RULES}/nobody/versions")) == "rule.unknown"


async def admit(services: Services, keys: NodeKeys, level: Level) -> SpanId:
    server = NodeKeys.from_seed(bytes(range(32)))

    def build(_members: Membership, after: list[SpanId]) -> bytes:
        return admitted(keys, server, tenant_of(services).tenant_id, after, level)

    return (await services.writer.append_control(tenant_of(services), "member.admit", build)).id


async def test_what_others_publish_counts_if_they_are_root(services: Services, http: httpx.AsyncClient) -> None:
    own, theirs, tenant = text_of("a", "x"), text_of("a", "y"), tenant_of(services)
    await publish(http, own)
    writer, root = keys_of(7), keys_of(8)
    admissions = [await admit(services, writer, Level.TRUSTED), await admit(services, root, Level.ROOT)]
    pen = Pen(writer, tenant.tenant_id, admissions)
    pen.write(PUBLISH, rule_publish_data(admissions, "a", "yaml", theirs))
    pen.write(DISABLE, rule_disable_data(admissions, "a"))
    pen.write(PUBLISH, rule_publish_data(admissions, "b", "yaml", text_of("b", "x")))
    assert await services.writer.ingest(tenant, [pen.range()]) == [4]
    versions = (await http.get(f"{RULES}/a/versions")).json()["versions"]
    void = {each["void"] for each in versions if each["version"] != hash_of(own)}
    assert (len(versions), void) == (3, {"member.not_root"})
    assert (await http.get(f"{RULES}/a")).json()["version"] == hash_of(own)
    listed = (await http.get(RULES)).json()["rules"]
    assert [(each["name"], each["in_force"], each["published"]["void"]) for each in listed] == [
        ("a", True, None),
        ("b", False, "member.not_root"),
    ]
    answer = await http.post(f"{RULES}/a/rollback", json={"version": hash_of(theirs)})
    assert (code_of(answer), "member.not_root" in answer.json()["detail"]) == ("rule.unknown_version", True)

    other = Pen(root, tenant.tenant_id, admissions)
    now = services.world.now_ms() << 16
    other.write(PUBLISH, rule_publish_data(admissions, "a", "yaml", theirs), hlc=now)
    other.write(PUBLISH, rule_publish_data(admissions, "c", "yaml", b"rules: other"), hlc=now + 1)
    other.write(PUBLISH, rule_publish_data(admissions, "d", "yaml", text_of("e", "x")), hlc=now + 2)
    other.write(PUBLISH, rule_publish_data(admissions, "f", "yaml", text_of("f", "x")), hlc=now + 3, status=SIMULATED)
    other.write(PUBLISH, rule_publish_data(admissions, "g", "yaml", text_of("g", "x")), hlc=now + 4, visibility=PRIVATE)
    late = now + ((2 * CLOCK_AHEAD_MS_MAX) << 16)
    other.write(PUBLISH, rule_publish_data(admissions, "h", "yaml", text_of("h", "x")), hlc=late)
    outcomes = await services.writer.ingest(tenant, [other.range()])
    assert outcomes[0] == 7
    listed = (await http.get(RULES)).json()["rules"]
    assert {each["name"]: (each["in_force"], each["published"]["void"]) for each in listed} == {
        "a": (True, None),
        "b": (False, "member.not_root"),
        "c": (False, "rule.missing_key"),
        "d": (False, "rule.other_name"),
        "h": (False, None),  # in nobody's past until its time comes
    }
    assert (await http.get(f"{RULES}/a")).json()["version"] == hash_of(theirs)


async def test_publishing_takes_a_root_member(services: Services, http: httpx.AsyncClient) -> None:
    text, tenant, keys = text_of("a", "x"), tenant_of(services), keys_of(8)
    await publish(http, text)
    admission = await admit(services, keys, Level.ROOT)

    def lowers(_members: Membership, after: list[SpanId]) -> bytes:
        return member_level_data(after, services.node_public, Level.TRUSTED)

    await services.writer.append_control(tenant, "member.level", lowers)
    assert admission
    for answer in (
        await http.post(RULES, content=text_of("a", "y"), headers=YAML),
        await http.post(RULES, content=text_of("a", "y"), headers=YAML, params={"dry_run": "true"}),
        await http.delete(f"{RULES}/a"),
        await http.post(f"{RULES}/a/rollback", json={"version": hash_of(text)}),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "member.not_root")
    assert (await http.get(f"{RULES}/a")).json()["in_force"]


async def test_there_is_room_for_so_many_and_none_gives_way_to_a_new_one(
    services: Services, monkeypatch: pytest.MonkeyPatch, http: httpx.AsyncClient
) -> None:
    monkeypatch.setattr("lognode.engine.ruling.inforce.RULE_SETS_MAX", 3)
    assert RULE_SETS_MAX > 3
    for name in ("b", "c", "d"):
        await publish(http, text_of(name, "x"))
    for name in ("a", "e"):
        answer = await http.post(RULES, content=text_of(name, "x"), headers=YAML)
        assert (answer.status_code, code_of(answer)) == (409, "rule.too_many")
    await publish(http, text_of("c", "y"))
    await http.delete(f"{RULES}/c")
    await publish(http, text_of("a", "x"))
    ruled = await Publishing(services.store, services.writer, services.world, services.node_public).now(
        tenant_of(services)
    )
    assert list(ruled.sets) == ["a", "b", "d"]


async def test_tenants_neither_see_nor_affect_each_other(services: Services, http: httpx.AsyncClient) -> None:
    text, keys = text_of("a", "x"), keys_of(9)
    await publish(http, text)
    other_id = tenant_id(keys.public, bytes(16))
    other = await services.writer.adopt_tenant(other_id, "theirs")
    pen = Pen(keys, other_id, [])
    created = pen.write("tenant.create", tenant_create_data(keys, other_id, bytes(16), [pen.opening]), visibility=2)
    pen.write(PUBLISH, rule_publish_data([created], "a", "yaml", text_of("a", "theirs")))
    pen.write(PUBLISH, rule_publish_data([created], "b", "yaml", text_of("b", "theirs")))
    assert await services.writer.ingest(other, [pen.range()]) == [4]
    theirs = RULES.replace("default", "theirs")
    assert (await http.get(f"{RULES}/a")).json()["version"] == hash_of(text)
    assert (await http.get(f"{theirs}/a")).json()["version"] == hash_of(text_of("a", "theirs"))
    assert [each["name"] for each in (await http.get(RULES)).json()["rules"]] == ["a"]
    assert [each["name"] for each in (await http.get(theirs)).json()["rules"]] == ["a", "b"]
    assert code_of(await http.get(f"{RULES}/b")) == "rule.unknown"
    assert code_of(await http.get(f"{theirs}/a", params={"version": hash_of(text)})) == "rule.unknown_version"
    assert len((await http.get(f"{theirs}/a/versions")).json()["versions"]) == 1
    assert code_of(await http.post(theirs, content=text, headers=YAML)) == "member.not_root"
    assert code_of(await http.get(RULES.replace("default", "nobodys"))) == "tenant.unknown"
    await http.delete(f"{RULES}/a")
    assert (await http.get(f"{theirs}/a")).json()["in_force"]
