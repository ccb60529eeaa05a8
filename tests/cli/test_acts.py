"""What nodes record of themselves, in one line: for every kind, and whatever a node may have signed."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.cli.view.acts import ACTS, act_text
from lognode.cli.view.span import about_text
from lognode.client.answers import Span
from lognode.core.ids import b32encode
from lognode.timeline.control.shown import FIELDS

KEY: Final = bytes(range(32))
OTHER: Final = bytes(range(32, 64))
ONE, TWO = b32encode(KEY)[:12], b32encode(OTHER)[:12]
INVITE: Final = bytes(range(100, 116))
DATA: Final[dict[str, Any]] = {
    "node_key": OTHER.hex(), "old_key": KEY.hex(), "new_key": OTHER.hex(), "level": "trusted", "reason": "lost",
    "invite_id": INVITE.hex(), "uses": 3, "expires_ms": 1_800_000_000_000, "approve": 1, "feed": INVITE.hex(),
    "size": 1024, "seq": 7, "recovery_key": OTHER.hex(), "kind": "order", "policy": "manual", "name": "logins",
    "version": KEY.hex(),
}  # fmt: skip
MERGE: Final = [{"feed": "7q8w" + "0" * 22, "size": 1024}, {"feed": "9q8w" + "0" * 22, "size": 1}]
SAID: Final = {
    "member.admit": f"{ONE} let in {TWO} as trusted, by invite {b32encode(INVITE)[:12]}",
    "member.level": f"{ONE} made {TWO} trusted",
    "member.remove": f"{ONE} removed {TWO}: lost",
    "invite.create": f"{ONE} invited 3 nodes as trusted until 2027-01-15 08:00Z, each to be approved",
    "invite.revoke": f"{ONE} revoked invite {b32encode(INVITE)[:12]}",
    "identity.rotate": f"{ONE} has the key {TWO} now",
    "rule.publish": f"{ONE} published rule set logins, version 000102030405",
    "rule.disable": f"{ONE} disabled rule set logins",
    "timeline.merge": f"{ONE} holds feed 7q8w00000000 up to 1,024 and 1 more",
}


def span_of(kind: str, data: Any, **fields: Any) -> Span:
    span: dict[str, Any] = {
        "id": "0" * 39, "kind": kind, "at": "2026-03-01T11:58:00.000Z", "actor": None, "status": "executed",
        "visibility": "public", "caused_by": None, "node": f"logline-id://node/{b32encode(KEY)}", "feed": "f", "seq": 1,
        "position": 2, "leaf": "00", "data": data,
    }  # fmt: skip
    return span | fields  # type: ignore[return-value]


@pytest.mark.parametrize("kind", sorted(FIELDS.keys() | {"timeline.merge", "rule.publish", "rule.disable"}))
def test_every_act_of_a_node_has_a_line_and_no_mark_for_what_is_usual(kind: str) -> None:
    data = MERGE if kind == "timeline.merge" else DATA
    visibility = "organization" if kind.startswith("rule.") else "public"
    line = about_text(span_of(kind, data, visibility=visibility)).plain

    assert "{" not in line
    assert "[" not in line
    assert line == SAID.get(kind, line)


def test_a_node_that_goes_removes_itself() -> None:
    assert act_text(span_of("member.remove", DATA | {"node_key": KEY.hex(), "reason": ""})) == f"{ONE} removed itself"


def test_what_a_person_records_is_shown_as_it_is() -> None:
    assert act_text(span_of("order.paid", {"n": 1})) is None
    assert act_text(span_of("timeline.merge", MERGE, actor="logline-id://person/0")) is None
    assert about_text(span_of("order.paid", {"n": 1})).plain == '[public] {"n":1}'


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(DATA)), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(ACTS)), JSON | st.fixed_dictionaries(dict.fromkeys(DATA, JSON)))
def test_no_data_that_a_node_may_sign_ends_a_listing(kind: str, data: Any) -> None:
    line = act_text(span_of(kind, data))

    assert line is None or isinstance(line, str)


def test_a_span_without_data_has_no_line_of_its_own() -> None:
    span = span_of("member.level", None, body="erased")

    assert about_text(span).plain == "(body erased)"
