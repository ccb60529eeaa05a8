"""Subjects come to the same by the second implementation, from spans and pasts alone."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol.subjects import Register, Span

SUBJECTS: Final = json.loads((Path(__file__).parent.parent / "vectors/states.json").read_text())["subjects"]
Place = tuple[bytes, int]


class Pasts:
    """What each span's author knew, as stated."""

    def __init__(self, pasts: dict[Place, dict[bytes, int]]) -> None:
        self.pasts = pasts

    def knows(self, one: Place, other: Place) -> bool:
        return self.pasts[other].get(one[0], 0) > one[1]


@pytest.mark.parametrize("vector", SUBJECTS, ids=lambda vector: vector["name"])
def test_a_subject_comes_to_what_is_stated(vector: dict[str, Any]) -> None:
    counted = {bytes.fromhex(feed): size for feed, size in vector["counted"]}
    spans, pasts = [], {}
    for each in vector["spans"]:
        feed, cause = bytes.fromhex(each["feed"]), each["caused_by"] and bytes.fromhex(each["caused_by"])
        id_ = bytes.fromhex(each["id"])
        hlc = int.from_bytes(id_[:8], "big")
        span = Span(id_, feed, each["seq"], hlc, each["kind"], cause, "it", is_executed=True, is_private=False)
        pasts[span.place] = {bytes.fromhex(other): size for other, size in each["past"]}
        if span.seq < counted[feed]:
            spans.append(span)
    state = Register(spans, Pasts(pasts), dict(vector["policies"])).read("it")  # type: ignore[arg-type]
    assert sorted(head.id.hex() for head, _ in state.heads) == vector["heads"]
    holds = next((head.id.hex() for head, meant in state.heads if meant is state.value), None)
    assert holds == vector["holds"]
