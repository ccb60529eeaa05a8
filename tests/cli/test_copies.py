"""Lines of an export as drafts: what a copy says, what is left out, what is neither."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from lognode.cli.lines.copies import Imports, LeftOut, origin_of_copy, tell_conflict
from lognode.core.draft import parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode

HERE, THERE = b32encode(bytes(20)), b32encode(b"\x01" * 20)
IDS: Final = [b32encode(bytes(23) + bytes([n])) for n in range(4)]
NODE: Final = f"logline-id://node/{b32encode(bytes(32))}"
ACTOR: Final = f"logline-id://person/{b32encode(bytes(32))}"
SPAN: Final = {
    "id": IDS[1], "kind": "order.paid", "at": "1970-01-01T00:00:00.000Z", "actor": ACTOR, "status": "simulated",
    "visibility": "private", "caused_by": IDS[2], "actor_signed": True, "title": "Paid", "data": {"b": 1.0, "a": [2]},
    "tags": ["a", "b"], "subject": "order:17", "contract_id": "c", "workflow_id": "w", "flow_id": "f",
    "related": [IDS[3], IDS[2]], "metadata": 0, "annotations": None, "node": NODE, "feed": b32encode(bytes(16)),
    "seq": 5, "position": 6, "leaf": "00" * 32, "tenant": THERE,
}  # fmt: skip
AUTHORS: Final = (
    "kind", "actor", "status", "visibility", "caused_by", "title", "data", "tags", "subject", "contract_id",
    "workflow_id", "flow_id", "related", "metadata",
)  # fmt: skip


def made(is_held: Callable[[str], bool] = lambda _: False, **changes: Any) -> bytes | LeftOut | None:
    """What becomes of the span's line with these fields in place of its own."""
    return Imports(lambda: HERE, is_held).draft(json.dumps(SPAN | changes).encode())


def copied(**changes: Any) -> dict[str, Any]:
    line = made(**changes)
    assert isinstance(line, bytes)
    parse_json_draft(line)
    draft: dict[str, Any] = json.loads(line)
    return draft


def test_a_copy_holds_all_that_the_author_said_and_names_its_origin() -> None:
    draft = copied()

    assert {name: draft[name] for name in AUTHORS} == {name: SPAN[name] for name in AUTHORS}
    assert list(draft["data"]) == ["b", "a"]
    named = ("id", "at", "tenant", "node", "feed", "seq", "actor_signed")
    assert draft["origin"] == {name: SPAN[name] for name in named} | {"as": "import"}
    assert set(draft) == {*AUTHORS, "origin", "idempotency_key"}


def test_what_a_span_lacks_its_copy_lacks() -> None:
    nothing = dict.fromkeys(("actor", "caused_by", "title", "data", "subject", "flow_id", "metadata"))
    draft = copied(**nothing, tags=[], related=[])

    assert set(draft) == {
        "kind", "status", "visibility", "contract_id", "workflow_id", "origin", "idempotency_key"
    }  # fmt: skip


@pytest.mark.parametrize("field", ["data", "metadata"])
@pytest.mark.parametrize("value", [[], {}, "", 0, 0.0, False], ids=repr)
def test_a_value_that_is_empty_is_copied_all_the_same(field: str, value: object) -> None:
    assert json.dumps(copied(**{field: value})[field]) == json.dumps(value)


def test_the_key_of_a_copy_is_that_of_its_span_alone() -> None:
    assert copied()["idempotency_key"] == copied(title="another", position=9)["idempotency_key"]
    assert copied()["idempotency_key"] != copied(id=IDS[0])["idempotency_key"]


def test_a_copy_of_a_copy_keeps_the_first_origin() -> None:
    first = copied(id=IDS[0])["origin"]
    again = copied(annotations={"origin": first})

    assert again["origin"] == first | {"via": [IDS[1]]}
    assert again["idempotency_key"] == copied(id=IDS[0])["idempotency_key"]
    assert copied(annotations={"origin": "nonsense"})["origin"]["id"] == IDS[1]


def test_a_replay_is_an_act_of_its_own_and_its_copies_name_it() -> None:
    replayed = copied(id=IDS[0])["origin"] | {"as": "replay", "via": [IDS[2]]}
    copy = copied(annotations={"origin": replayed})
    again = copied(id=IDS[3], annotations={"origin": copy["origin"]})

    assert copy["origin"] == copied()["origin"]
    assert again["origin"] == copy["origin"] | {"via": [IDS[3]]}
    assert again["idempotency_key"] == copy["idempotency_key"] != copied(id=IDS[0])["idempotency_key"]


class Tenant:
    """Takes lines as a node does: once for each key, under an id of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = b32encode(bytes([number]) * 20)
        self.held: dict[str, dict[str, Any]] = {}

    def take(self, lines: list[bytes]) -> None:
        imports = Imports(lambda: self.id, lambda span: any(span == held["id"] for held in self.held.values()))
        for line in lines:
            draft = imports.draft(line)
            if isinstance(draft, bytes):
                said = json.loads(draft)
                self.record(said["idempotency_key"], said["origin"])

    def record(self, key: str, origin: dict[str, Any] | None = None) -> dict[str, Any]:
        place = {"id": b32encode(bytes(22) + bytes([self.number, len(self.held)])), "tenant": self.id}
        return self.held.setdefault(key, SPAN | place | {"annotations": origin and {"origin": origin}})

    def replay(self, key: str, span: dict[str, Any]) -> None:
        self.record(f"{key}:{span['id']}", origin_of_copy(span, self.id, "replay"))

    def export(self) -> list[bytes]:
        return [json.dumps(span).encode() for span in self.held.values()]


def test_tenants_that_exchange_exports_come_to_hold_each_act_once() -> None:
    one, two, three = tenants = [Tenant(number) for number in (1, 2, 3)]
    span = one.record("first")
    one.replay("run", span)
    two.take(one.export())
    two.replay("run", two.held[f"copy:{span['id']}"])
    for _ in range(4):
        for taker in tenants:
            for giver in tenants:
                taker.take(giver.export())

    assert [len(tenant.held) for tenant in tenants] == [3, 3, 3]
    assert len({held["annotations"]["origin"]["id"] for held in three.held.values()}) == 3


def test_a_dry_run_remembers_what_it_sent_under_each_key() -> None:
    imports = Imports(lambda: HERE, lambda _: False, is_dry=True)

    def became(line: dict[str, Any]) -> bytes | LeftOut | None:
        return imports.draft(json.dumps(line).encode())

    assert became(SPAN) is not None
    assert became(SPAN | {"position": 9}) is None
    assert became({"kind": "a.b", "tags": ["b", "a"], "idempotency_key": "k"}) is not None
    assert became({"idempotency_key": "k", "kind": "a.b", "tags": ["a", "b"]}) is None
    assert became({"kind": "a.b", "idempotency_key": "l"}) is not None
    for _ in range(2):
        assert became({"kind": "a.b"}) is not None
        assert became({"kind": "A", "idempotency_key": "m"}) is not None
    for line, told in ((SPAN | {"title": "x"}, IDS[1]), ({"kind": "c", "idempotency_key": "k"}, "this key stands")):
        with pytest.raises(CallerError) as caught:
            became(line)
        assert caught.value.code == "idempotency.mismatch"
        assert told in (caught.value.detail or "")


def test_a_copy_that_is_there_with_other_content_is_named_for_what_it_is() -> None:
    line = json.dumps(copied(), separators=(",", ":")).encode()
    error = CallerError("idempotency.mismatch", "this key stands for a span with other content", extra={"line": 2})
    tell_conflict(error, [b"{}", line])
    assert error.detail == f"a copy of {IDS[1]} is there, and its content is not that of this one"

    own = CallerError("idempotency.mismatch", "as it was", extra={"line": 1})
    tell_conflict(own, [b'{"kind":"a.b","idempotency_key":"k"}'])
    assert own.detail == "as it was"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "feed.open"}, "control"),
        ({"kind": "tenant.create"}, "control"),
        ({"kind": "timeline.merge"}, "reserved"),
        ({"body": "missing"}, "body_missing"),
        ({"body": "malformed", "body_fault": "tags"}, "body_malformed"),
    ],
)
def test_what_nobody_can_copy_is_left_out_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert made(**changes) == LeftOut(reason)


def test_a_span_that_the_tenant_recorded_itself_is_there_already() -> None:
    origin = copied(id=IDS[0])["origin"]
    own = origin | {"tenant": HERE}

    assert made(lambda span: span == IDS[1], tenant=HERE) is None
    assert made(lambda span: span == IDS[0], annotations={"origin": own}) is None
    for changes in (
        {"tenant": HERE},  # lost since, as after a restored backup
        {"annotations": {"origin": own}},
    ):
        assert made(lambda _: False, **changes) is not None
    for changes in (
        {},  # whatever another tenant has
        {"annotations": {"origin": origin}},
        {"annotations": {"origin": own | {"as": "replay"}}},  # a replay is an act of its own
    ):
        assert made(lambda _: True, **changes) is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": 5}, "draft.invalid"),
        ({"kind": "No Kind"}, "kind.invalid"),
        ({"at": "1970-01-01T00:00:00.001Z"}, "draft.invalid"),
        ({"caused_by": "."}, "id.malformed"),
    ],
)
def test_a_span_that_is_there_already_must_be_one_that_could_be_sent(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(CallerError) as caught:
        made(lambda _: True, tenant=HERE, **changes)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"a.b"}',
        b'{"kind":"a.b","data":{"id":1,"feed":2,"seq":3,"leaf":4}}',
        b'{"kind":"a.b","tags":["\\"leaf\\""]}',
        b'{"leaf":',
        b'["leaf"]',
        b'"leaf"',
        b'{"leaf":"\xff"}',
    ],
)
def test_any_other_line_stays_as_it_is(line: bytes) -> None:
    assert Imports(lambda: HERE, lambda _: True).draft(line) == line


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in SPAN.items() if name not in names}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"kind": "a.b", "leaf": "00"}, "draft.invalid"),
        (without("id"), "draft.invalid"),
        (without("tenant"), "draft.invalid"),
        (without("kind"), "draft.invalid"),
        (SPAN | {"id": 1}, "draft.invalid"),
        (SPAN | {"id": "."}, "id.malformed"),
        (SPAN | {"id": "../stats", "tenant": HERE}, "id.malformed"),
        (SPAN | {"idempotency_key": "k"}, "draft.invalid"),
        (SPAN | {"origin": None}, "draft.invalid"),
    ],
)
def test_a_line_that_is_neither_a_draft_nor_a_span_is_refused(line: dict[str, Any], code: str) -> None:
    with pytest.raises(CallerError) as caught:
        Imports(lambda: HERE, lambda _: True).draft(json.dumps(line).encode())
    assert caught.value.code == code


def test_a_span_that_has_a_field_twice_is_refused() -> None:
    line = json.dumps(SPAN).replace('"kind"', '"kind":"a.b","kind"', 1).encode()
    with pytest.raises(CallerError) as caught:
        Imports(lambda: HERE, lambda _: True).draft(line)
    assert caught.value.code == "json.duplicate_key"


def test_values_of_sixteen_levels_are_copied() -> None:
    deep: Any = 1
    for _ in range(16):
        deep = [deep]
    assert copied(data=deep)["data"] == deep
