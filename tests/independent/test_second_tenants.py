"""Whole tenants come to the same by the second implementation: void verdicts, cuts, order, state."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol.subjects import Register, Span
from tests.independent.protocol.tenants import Tenant, read_entry

TENANTS: Final = json.loads((Path(__file__).parent.parent / "vectors/tenants.json").read_text())["tenants"]
Vector = dict[str, Any]


@pytest.fixture(params=TENANTS, ids=lambda vector: vector["name"])
def vector(request: pytest.FixtureRequest) -> Vector:
    asked: Vector = request.param
    return asked


@pytest.fixture
def tenant(vector: Vector) -> Tenant:
    feeds = {}
    for feed in vector["feeds"]:
        id_ = bytes.fromhex(feed["id"])
        feeds[id_] = [
            read_entry((id_, seq), hlc, visibility, bytes.fromhex(header), bytes.fromhex(body) if body else None)
            for seq, (hlc, visibility, header, body) in enumerate(feed["entries"])
        ]
    return Tenant(bytes.fromhex(vector["tenant"]), feeds)


def test_the_same_is_void_for_the_same_reason(tenant: Tenant, vector: Vector) -> None:
    assert sorted([feed.hex(), seq, why] for (feed, seq), why in tenant.voids.items()) == vector["voids"]
    assert tenant.members.cuts == vector["cuts"]
    assert tenant.members.policies == vector["policies"]
    assert tenant.state.hex() == vector["state"]


def test_spans_stand_to_each_other_as_stated(tenant: Tenant, vector: Vector) -> None:
    places = [(bytes.fromhex(feed), seq) for feed, seq, _ in vector["pasts"]]
    for place, (_, _, past) in zip(places, vector["pasts"], strict=True):
        found = tenant.order.past(place)
        assert sorted([feed.hex(), size] for feed, size in found.items()) == past
    for one, other, relation in vector["relations"]:
        assert tenant.order.relation(places[one], places[other]) == relation


def test_subjects_come_to_the_same(tenant: Tenant, vector: Vector) -> None:
    for stated in vector["subjects"]:
        state = tenant.register.read(stated["subject"])
        assert [[head.id.hex(), meant.id.hex()] for head, meant in state.heads] == stated["heads"]
        assert (state.value.id.hex() if state.value else None) == stated["value"]
        local = tenant.register.local(stated["subject"])
        assert (local and local.id.hex()) == stated["local"]


def test_members_stand_where_their_open_feeds_end(tenant: Tenant, vector: Vector) -> None:
    assert tenant.standings == vector["standings"]
    assert min(hlc for *_, hlc in tenant.standings) == vector["settled_hlc"]


STATES: Final = json.loads((Path(__file__).parent.parent / "vectors/states.json").read_text())["subjects"]


@pytest.mark.parametrize("stated", STATES, ids=lambda stated: stated["name"])
def test_what_is_said_of_a_subject_comes_to_what_is_stated(stated: Vector) -> None:
    counted = {bytes.fromhex(feed): size for feed, size in stated["counted"]}
    spans, pasts = [], {}
    for each in stated["spans"]:
        caused_by = bytes.fromhex(each["caused_by"]) if each["caused_by"] else None
        place = bytes.fromhex(each["feed"]), each["seq"]
        pasts[place] = {bytes.fromhex(other): size for other, size in each["past"]}
        if each["seq"] < counted[place[0]]:
            id_ = bytes.fromhex(each["id"])
            spans.append(Span(id_, *place, each["kind"], caused_by, "s"))
    state = Register(spans, pasts.__getitem__, dict(stated["policies"])).read("s")
    assert sorted(head.id.hex() for head, _ in state.heads) == stated["heads"]
    assert (state.heads[0][0].id.hex() if state.value else None) == stated["holds"]
