"""Policies: their form, line by line, and what they make of cosignatures."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.identity.keys import KeyPair
from lognode.timeline.proof.checkpoint import parse_note, sign_checkpoint, typed_vkey, vkey
from lognode.timeline.proof.cosignature import Cosignature, cosign, cosignature_line, witness_vkey
from lognode.timeline.proof.policy import parse_policy

TENANT, FEED, ROOT, TIME_S = TenantId(bytes(20)), FeedId(bytes(16)), bytes(32), 1_760_000_000
LOG = KeyPair(bytes(32))
WITNESSES = [KeyPair(bytes([number]) * 32) for number in range(1, 6)]
NAMES = [f"w{number}" for number in range(1, 6)]
LINES = [f"witness {name} {witness_vkey(name, key.public)}" for name, key in zip(NAMES, WITNESSES, strict=True)]


def note(cosigners: Iterable[int], *, root: bytes = ROOT) -> bytes:
    """A checkpoint with the cosignatures of some witnesses, which cosigned a tree with `root`."""
    raw = sign_checkpoint(LOG, TENANT, FEED, 7, ROOT)
    for at in cosigners:
        key = WITNESSES[at]
        signature = cosign(key, TENANT, FEED, 7, root, TIME_S + at)
        raw += cosignature_line(Cosignature(NAMES[at], key.public, TIME_S + at, signature))
    return raw


def is_met(lines: list[str], cosigners: Iterable[int]) -> bool:
    found, met = parse_policy("\n".join([*LINES, *lines, ""]).encode()).judge(parse_note(note(cosigners)))
    assert sorted(found) == sorted(NAMES[at] for at in cosigners)
    return met


@given(st.sets(st.integers(0, 4)), st.integers(1, 5))
def test_a_quorum_is_met_by_as_many_as_it_says(cosigners: set[int], least: int) -> None:
    assert is_met([f"group all-five {least} {' '.join(NAMES)}", "quorum all-five"], cosigners) is (
        len(cosigners) >= least
    )


@given(st.sets(st.integers(0, 4)))
def test_groups_stand_in_groups(cosigners: set[int]) -> None:
    lines = ["group X 2 w1 w2 w3", "group Y any w4 w5", "group both all X Y", "quorum both"]
    assert is_met(lines, cosigners) is (len(cosigners & {0, 1, 2}) >= 2 and bool(cosigners & {3, 4}))


def test_one_witness_or_none_may_be_the_quorum() -> None:
    assert is_met(["quorum w2"], [1])
    assert not is_met(["quorum w2"], [0, 2])
    assert is_met(["quorum none"], [])


def test_a_cosignature_of_another_tree_or_time_counts_for_nobody() -> None:
    policy = parse_policy("\n".join([*LINES, "quorum w1", ""]).encode())
    assert policy.judge(parse_note(note([0], root=bytes(31) + b"\x01"))) == ({}, False)
    other = Cosignature("w1", WITNESSES[0].public, TIME_S + 1, cosign(WITNESSES[0], TENANT, FEED, 7, ROOT, TIME_S))
    assert policy.judge(parse_note(note([]) + cosignature_line(other))) == ({}, False)


def test_a_log_is_known_by_its_key() -> None:
    text = vkey("example.com/log", LOG.public)
    assert [log.name for log in parse_policy(f"log {text}\nquorum none\n".encode()).logs] == ["example.com/log"]


def test_a_key_of_a_kind_that_is_not_known_has_signed_nothing() -> None:
    key = typed_vkey("pq", b"\x06", bytes(1312))
    line = f"witness pq {key}"
    policy = parse_policy("\n".join([*LINES, line, "group g 1 pq w1", "quorum g"]).encode())
    assert policy.judge(parse_note(note([])))[1] is False
    assert policy.judge(parse_note(note([0])))[1] is True


def test_comments_blanks_and_other_octets_are_taken() -> None:
    lines = [b"# a policy", b"", b" \t", b"  # \xff\xfe", LINES[0].encode().replace(b" ", b" \t "), b"\tquorum w1 "]
    assert parse_policy(b"\n".join(lines)).quorum == "w1"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], None),
        (["quorum w9"], 6),
        (["quorum w1", "quorum none"], 7),
        (["quorum"], 6),
        (["witness w1 x"], 6),
        (["witness none x"], 6),
        ([LINES[0].replace("w1 ", "w9 ", 1)], 6),
        (["witness w9 name+00000000+AAAA"], 6),
        (["group g all"], 6),
        (["group g all w9"], 6),
        (["group g 0 w1"], 6),
        (["group g 01 w1"], 6),
        (["group g 3 w1 w2"], 6),
        (["group w1 any w2"], 6),
        (["group g any w1 w1"], 6),
        (["group g any w1", "group h any w1"], 7),
        (["group g any none"], 6),
        ([f"log {vkey('a', LOG.public)}", f"log {vkey('b', LOG.public)}"], 7),
        (["log x"], 6),
        (["member w1"], 6),
        (["quorum w1\r"], 6),
        (["quorum\vw1"], 6),
    ],
)
def test_other_lines_are_named(lines: list[str], line: int | None) -> None:
    with pytest.raises(CallerError) as failure:
        parse_policy("\n".join([*LINES, *lines, ""]).encode())
    assert failure.value.code == "policy.malformed"
    assert failure.value.place == (f"line {line}" if line else None)
