"""What is found to be wrong is named by its code: every one of them, each with words for people."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import ERRORS, PeerError
from lognode.core.errors.federation.voids import VOID_REASONS
from lognode.federation.sync.findings import Findings
from lognode.timeline.members import history
from lognode.timeline.verify.inert import INERT_REASONS, WITHHELD
from tests.federation.linked import LinkedNode, open_node

ROOT = Path(__file__).parent.parent.parent
PEER_CODES = sorted(code for code, spec in ERRORS.items() if spec.kind == "peer")


def reasons_of_the_rules() -> set[str]:
    """The codes for which acts are void, as they stand in the modules that judge them."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "lognode/timeline/members").glob("*.py"))
    return set(re.findall(r'"([a-z]+\.[a-z_]+)"', sources)) - history._PARSERS.keys()


def test_every_reason_that_makes_something_void_has_words_and_stands_in_the_documents() -> None:
    vectors: Any = json.loads((ROOT / "tests/vectors/memberships.json").read_text("utf-8"))
    seen = {reason for tenant in vectors["tenants"] for _, reason in tenant["voids"]}
    rules = reasons_of_the_rules() | set(INERT_REASONS) - {WITHHELD}
    told = {"body.malformed", "fork.invalid"}  # by who reads data and proofs
    assert seen <= rules | told
    assert rules | told == VOID_REASONS.keys()
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    for code, reason in VOID_REASONS.items():
        assert f"| `{code}` | {reason.title}. | {reason.hint} |" in page


@given(st.lists(st.sampled_from(PEER_CODES)))
def test_no_code_is_lost_because_another_came_after_it(codes: list[str]) -> None:
    findings = Findings()
    for at, code in enumerate(codes):
        findings.note(code, f"the {at}th", at)
    told = {found.code: found for found in findings.all()}
    assert {code: found.times for code, found in told.items()} == {code: codes.count(code) for code in set(codes)}
    assert all(codes[found.at_ms] == code and found.detail == f"the {found.at_ms}th" for code, found in told.items())

    findings.settle()
    assert [found.code for found in findings.all()] == sorted({code for code in codes if not ERRORS[code].retryable})


async def fail_twice(node: LinkedNode) -> list[str]:
    tie = node.ties.tie(bytes(32), node.tenant)
    tie.fail(PeerError("range.unproven", "a lie"))
    tie.fail(PeerError("range.stubbed"))
    tie.fail(PeerError("peer.unreachable"))
    (status,) = node.links.status(node.tenant)
    assert status.error is not None
    assert status.error.code == "peer.unreachable"
    return [found.code for found in status.findings]


async def test_what_a_peer_sent_stays_named_when_it_is_gone(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1, serves=False) as node:
        await trio.testing.wait_all_tasks_blocked()
        assert await fail_twice(node) == ["range.stubbed", "range.unproven"]


async def test_a_node_that_keeps_the_last_code_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def note_last(self: Findings, code: str, detail: str, now_ms: int) -> None:
        self._found.clear()
        note(self, code, detail, now_ms)

    note = Findings.note
    monkeypatch.setattr(Findings, "note", note_last)
    async with open_node(tmp_path, 1, serves=False) as node:
        await trio.testing.wait_all_tasks_blocked()
        assert await fail_twice(node) != ["range.stubbed", "range.unproven"]


async def test_a_node_says_that_others_refuse_it_until_one_has_a_session_with_it(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1, serves=False) as node:
        await trio.testing.wait_all_tasks_blocked()
        refusing, away = [node.ties.tie(bytes([number]) * 32, node.tenant) for number in (8, 9)]
        away.fail(PeerError("peer.unreachable"))
        assert node.links.trouble(node.tenant) is None
        refusing.fail(PeerError("peer.refused"))
        refusing.fail(PeerError("peer.unreachable"))  # what it said stands
        trouble = node.links.trouble(node.tenant)
        assert trouble is not None
        assert (trouble.code, trouble.detail) == ("member.refused", "1 of 2 do, none has a session with it")
        away.open("in")
        assert node.links.trouble(node.tenant) is None
        away.close("in")
        refusing.open("out")
        refusing.close("out")
        assert node.links.trouble(node.tenant) is None
