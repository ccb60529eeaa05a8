"""The types that the client gives to answers are those that the node's OpenAPI document describes."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import msgspec
import pytest

from lognode.client.answers import (
    Appended,
    Node,
    Page,
    Receipt,
    Span,
    Stats,
    Walk,
    agreement,
    approvals,
    federation,
    peers,
    rules,
    state,
    tasks,
)
from tests.daemon import Daemon

TENANT: Final = "/v1/tenants/{tenant}"
ANSWERS: Final[Mapping[tuple[str, str, str], tuple[Any, ...]]] = {
    ("get", "/v1/node", "200"): (Node,),
    ("get", f"{TENANT}/stats", "200"): (Stats,),
    ("get", f"{TENANT}/sync", "200"): (federation.Sync,),
    ("post", f"{TENANT}/sync", "202"): (federation.Sync,),
    ("get", f"{TENANT}/spans", "200"): (Page,),
    ("get", f"{TENANT}/spans/{{span_id}}", "200"): (Span,),
    ("get", f"{TENANT}/spans/{{span_id}}/causes", "200"): (Walk,),
    ("get", f"{TENANT}/spans/{{span_id}}/effects", "200"): (Walk,),
    ("post", f"{TENANT}/spans", "201"): (Receipt, Appended),
    ("post", f"{TENANT}/spans", "200"): (Receipt, Appended),
    ("post", f"{TENANT}/spans", "202"): (Receipt, Appended),
    ("post", f"{TENANT}/invites", "201"): (federation.Issued,),
    ("get", f"{TENANT}/invites", "200"): (federation.Invites,),
    ("delete", f"{TENANT}/invites/{{invite}}", "200"): (federation.Revoked,),
    ("get", f"{TENANT}/members", "200"): (federation.Members,),
    ("get", f"{TENANT}/members/pending", "200"): (federation.Waitings,),
    ("post", f"{TENANT}/members/pending/{{node}}", "200"): (federation.Approved,),
    ("patch", f"{TENANT}/members/{{node}}", "200"): (federation.Changed,),
    ("delete", f"{TENANT}/members/{{node}}", "200"): (federation.Changed,),
    ("get", f"{TENANT}/peers", "200"): (peers.Peers,),
    ("get", f"{TENANT}/subjects", "200"): (state.Subjects,),
    ("get", f"{TENANT}/subjects/{{subject}}", "200"): (state.Subject,),
    ("get", f"{TENANT}/conflicts", "200"): (state.Subjects,),
    ("post", f"{TENANT}/conflicts/resolve", "201"): (state.Resolved,),
    ("get", f"{TENANT}/policies", "200"): (state.Policies,),
    ("put", f"{TENANT}/policies/{{kind}}", "201"): (Receipt,),
    ("post", f"{TENANT}/spans/{{span_id}}/revert", "201"): (Receipt,),
    ("post", f"{TENANT}/state/rebuild", "200"): (state.Rebuilt,),
    ("get", f"{TENANT}/approvals", "200"): (approvals.Approvals,),
    ("get", f"{TENANT}/approvals/{{approval}}", "200"): (approvals.Approval,),
    ("post", f"{TENANT}/approvals/{{approval}}/grant", "201"): (approvals.Answered,),
    ("post", f"{TENANT}/approvals/{{approval}}/deny", "200"): (approvals.Answered,),
    ("get", f"{TENANT}/tasks", "200"): (tasks.Tasks,),
    ("post", f"{TENANT}/tasks", "201"): (tasks.Task,),
    ("post", f"{TENANT}/tasks", "200"): (tasks.Task,),
    ("get", f"{TENANT}/tasks/{{task}}", "200"): (tasks.Task,),
    ("post", f"{TENANT}/tasks/{{task}}/cancel", "200"): (tasks.Task,),
    ("post", f"{TENANT}/tasks/{{task}}/retry", "200"): (tasks.Task,),
    ("post", f"{TENANT}/tasks/pause", "200"): (tasks.TasksState,),
    ("post", f"{TENANT}/tasks/resume", "200"): (tasks.TasksState,),
    ("post", f"{TENANT}/tasks/drain", "200"): (tasks.TasksState,),
    ("get", f"{TENANT}/schedules", "200"): (tasks.Schedules,),
    ("post", f"{TENANT}/schedules", "201"): (tasks.Schedule,),
    ("get", f"{TENANT}/schedules/{{schedule}}", "200"): (tasks.Schedule,),
    ("delete", f"{TENANT}/schedules/{{schedule}}", "200"): (tasks.Schedule,),
    ("post", f"{TENANT}/schedules/{{schedule}}/pause", "200"): (tasks.Schedule,),
    ("post", f"{TENANT}/schedules/{{schedule}}/resume", "200"): (tasks.Schedule,),
    ("get", f"{TENANT}/forks", "200"): (agreement.Forks,),
    ("get", f"{TENANT}/forks/{{feed}}", "200"): (agreement.Fork,),
    ("get", f"{TENANT}/forks/{{feed}}/branches/{{tip}}", "200"): (agreement.BranchEntries,),
    ("get", f"{TENANT}/spans/{{span_id}}/relation/{{other}}", "200"): (agreement.Relation,),
    ("get", f"{TENANT}/rules", "200"): (rules.RuleSets,),
    ("post", f"{TENANT}/rules", "201"): (rules.Published,),
    ("get", f"{TENANT}/rules/{{rule_set}}", "200"): (rules.RuleText,),
    ("delete", f"{TENANT}/rules/{{rule_set}}", "201"): (rules.Published,),
    ("get", f"{TENANT}/rules/{{rule_set}}/versions", "200"): (rules.Versions,),
    ("get", f"{TENANT}/rules/{{rule_set}}/diff", "200"): (rules.Difference,),
    ("post", f"{TENANT}/rules/{{rule_set}}/rollback", "201"): (rules.Published,),
    ("get", f"{TENANT}/spans/{{span_id}}/decision", "200"): (rules.Decision,),
    ("get", f"{TENANT}/spans/{{span_id}}/decision/{{rule_set}}/{{rule}}", "200"): (rules.Account,),
    ("post", "/v1/node/join", "200"): (federation.Joined,),
    ("post", "/v1/node/join", "202"): (federation.Joined,),
}
# One type for a span wherever it comes from; these fields it has in some answers only.
OF_SOME_SPANS: Final = frozenset({"entry", "depth", "restored_from", "reverted_by"})


def shape(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """What a JSON schema allows: fields by name, each with whether it is always there and its own shape."""
    if "$ref" in schema:
        return shape(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return frozenset(shape(each, components) for each in schema["anyOf"])
    if "enum" in schema:
        return "string"
    if "properties" in schema:
        required = set(schema.get("required", ()))
        return frozenset(
            (name, name in required, shape(each, components))
            for name, each in schema["properties"].items()
            if name not in OF_SOME_SPANS
        )
    if schema.get("type") == "array":
        return ("array", shape(schema["items"], components))
    if "additionalProperties" in schema:
        return ("object", shape(schema["additionalProperties"], components))
    return schema.get("type", "any")


def differences(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The answers whose types are not as the document describes them."""
    found = []
    for (method, path, status), types in ANSWERS.items():
        described = document["paths"][path][method]["responses"][status]["content"]["application/json"]
        schemas, components = msgspec.json.schema_components(types)
        named = {"anyOf": schemas} if len(schemas) > 1 else schemas[0]
        if shape(described["schema"], document["components"]["schemas"]) != shape(named, components):
            found.append((method, path, status))
    return found


@pytest.fixture
def document(daemon: Daemon) -> dict[str, Any]:
    with daemon.client() as http:
        found: dict[str, Any] = http.get("/v1/openapi.json").json()
        return found


def test_answers_have_the_fields_and_types_that_the_api_describes(document: dict[str, Any]) -> None:
    assert differences(document) == []


def test_a_field_that_differs_in_name_need_or_type_is_found(document: dict[str, Any]) -> None:
    for change in ("name", "need", "type", "more"):
        changed = deepcopy(document)
        feed = changed["components"]["schemas"]["FeedJson"]
        if change == "name":
            feed["properties"]["length"] = feed["properties"].pop("size")
        elif change == "need":
            feed["required"].remove("size")
        elif change == "type":
            feed["properties"]["size"] = {"type": "string"}
        else:
            feed["properties"]["more"] = {"type": "string"}
        assert differences(changed) == [("get", f"{TENANT}/stats", "200")], change


def test_the_fields_of_some_spans_are_in_the_answers_that_say_so(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert "entry" in schemas["OneSpanJson"]["required"]
    assert "depth" in schemas["WalkSpanJson"]["required"]
    assert Span.__optional_keys__ >= OF_SOME_SPANS
