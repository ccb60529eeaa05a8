"""Proofs of forks: what they show, that nobody can make one about an honest feed, and their one form."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.core.span import leaf_hash, span_id
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.forks import check_feed_fork, feed_fork_data, parse_feed_fork
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.proof.checkpoint import origin, sign_note, vkey
from lognode.timeline.proof.fork import (
    ForkProof,
    check_fork,
    fork_proof,
    format_fork,
    left_hashes,
    lone_note,
    parse_fork,
)
from lognode.timeline.proof.tree import border_at, inclusion_proof, verify_inclusion
from tests.agreement.forgeries import entries, forked, side
from tests.vectors.history import NodesOf

KEYS: Final = NodeKeys.from_seed(b"k" * 32)
TENANT: Final = TenantId(b"t" * 20)
NONCE: Final = b"n" * 16
FEED: Final = feed_id(TENANT, KEYS.public, NONCE)
OPENING: Final = feed_open_data(KEYS, TENANT, FEED, NONCE, [], None, "first")
LOG_KEY: Final = KEYS.log_key(FEED)
log_key = NodeKeys.log_key


def proof(seq: int = 5, sizes: tuple[int, int] = (7, 9)) -> ForkProof:
    return forked(LOG_KEY, TENANT, OPENING, FEED, seq, sizes)


def refused(found: ForkProof) -> str:
    with pytest.raises(CallerError) as caught:
        check_fork(found)
    assert caught.value.code == "fork.invalid"
    return caught.value.detail


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_proof_shows_the_first_entry_that_differs(data: st.DataObject) -> None:
    seq = data.draw(st.integers(0, 40))
    sizes = data.draw(st.tuples(*[st.integers(seq + 1, seq + 70)] * 2))
    found = proof(seq, sizes)
    shown = check_fork(found)
    assert (shown.tenant, shown.feed, shown.node_key, shown.seq) == (TENANT, FEED, KEYS.public, seq)
    leaves = [leaf_hash(one.entry) for one in found.sides]
    assert leaves == sorted(leaves)
    assert shown.spans == tuple(span_id(1000 + seq, leaf) for leaf in leaves)
    assert sorted(shown.sizes) == sorted(sizes)
    assert parse_fork(format_fork(found)) == found
    control = parse_feed_fork(feed_fork_data([], found))
    assert control.proof == found
    assert check_feed_fork(TENANT, control) == shown


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_hashes_to_the_left_are_those_of_all_that_comes_before(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    nodes = NodesOf([bytes([at % 251]) * 32 for at in range(size)])
    border = [node for node in border_at(index, nodes).nodes if node is not None]
    assert left_hashes(index, size, inclusion_proof(index, size, nodes)) == border


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_later_entry_that_differs_proves_nothing(data: st.DataObject) -> None:
    """Else one fork could be told at many places, and a feed would count to another size on every node."""
    seq = data.draw(st.integers(0, 20))
    later = data.draw(st.integers(seq + 1, 30))
    sizes = data.draw(st.tuples(*[st.integers(later + 1, 40)] * 2))
    one, other = (
        side(LOG_KEY, TENANT, entries(FEED, size, seq, name), later) for size, name in zip(sizes, "ab", strict=True)
    )
    with pytest.raises(CallerError, match="differ before the entry"):
        fork_proof(later, (OPENING, one), (OPENING, other))


def test_one_history_of_two_sizes_is_none() -> None:
    one, other = (side(LOG_KEY, TENANT, entries(FEED, size, 99, ""), 3) for size in (5, 8))
    with pytest.raises(CallerError, match="do not differ"):
        fork_proof(3, (OPENING, one), (OPENING, other))


def test_a_feed_that_was_opened_twice_with_two_log_keys_is_forked_from_its_first_entry() -> None:
    """A node that holds the node key may bind any key; honest ones have one log key for each feed."""
    stranger = NodeKeys.from_seed(b"x" * 32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeKeys, "log_key", lambda _, feed: log_key(stranger, feed))
        opening = feed_open_data(KEYS, TENANT, FEED, NONCE, [], None, "first")
    one = side(LOG_KEY, TENANT, entries(FEED, 4, 0, "a"), 0)
    other = side(stranger.log_key(FEED), TENANT, entries(FEED, 6, 0, "b"), 0)
    found = fork_proof(0, (opening, other), (OPENING, one))
    assert set(found.openings) == {OPENING, opening}
    assert check_fork(found).seq == 0
    assert parse_fork(format_fork(found)) == found
    assert "not made" not in refused(found._replace(openings=found.openings[::-1]))
    assert refused(found._replace(openings=found.openings[:1]))
    assert "two log keys" in refused(proof(0)._replace(openings=(OPENING, OPENING)))


CHANGES: Final[dict[str, Callable[[ForkProof], ForkProof]]] = {
    "sides the other way round": lambda found: found._replace(sides=found.sides[::-1]),
    "one side twice": lambda found: found._replace(sides=(found.sides[0],) * 2),
    "no opening": lambda found: found._replace(openings=()),
    "three openings": lambda found: found._replace(openings=(OPENING,) * 3),
    "an opening of another feed": lambda found: found._replace(
        openings=(feed_open_data(KEYS, TENANT, feed_id(TENANT, KEYS.public, bytes(16)), bytes(16), [], None, "first"),)
    ),
    "another place": lambda found: found._replace(seq=found.seq + 1),
    "a hash too many": lambda found: found._replace(
        sides=(found.sides[0]._replace(path=(*found.sides[0].path, bytes(32))), found.sides[1])
    ),
    "a hash too few": lambda found: found._replace(
        sides=(found.sides[0]._replace(path=found.sides[0].path[:-1]), found.sides[1])
    ),
    "a checkpoint of the other side": lambda found: found._replace(
        sides=(found.sides[0]._replace(note=found.sides[1].note), found.sides[1])
    ),
    "a second signature": lambda found: found._replace(
        sides=(found.sides[0]._replace(note=found.sides[0].note + b"\xe2\x80\x94 x AAAAAAAA\n"), found.sides[1])
    ),
    "a checkpoint that another key signed": lambda found: found._replace(
        sides=(
            found.sides[0]._replace(
                note=sign_note(
                    KEYS.log_key(feed_id(TENANT, KEYS.public, bytes(16))),
                    origin(TENANT, FEED),
                    found.sides[0].note.decode().partition("\n\n")[0] + "\n",
                )
            ),
            found.sides[1],
        )
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_proves_nothing(name: str) -> None:
    assert refused(CHANGES[name](proof()))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_file_passes(data: st.DataObject) -> None:
    raw = bytearray(format_fork(proof()))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CallerError) as caught:
        check_fork(parse_fork(bytes(raw)))
    assert caught.value.code == "fork.invalid"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_control_span_passes(data: st.DataObject) -> None:
    raw = bytearray(feed_fork_data([], proof()))
    at = data.draw(st.integers(1, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CallerError) as caught:
        check_feed_fork(TENANT, parse_feed_fork(bytes(raw)))
    assert caught.value.code in {"fork.invalid", "body.malformed"}


def test_a_proof_about_another_tenant_proves_nothing_here() -> None:
    control = parse_feed_fork(feed_fork_data([], proof()))
    with pytest.raises(CallerError, match="another tenant"):
        check_feed_fork(TenantId(bytes(20)), control)


def test_what_others_signed_beside_it_is_left_out_of_a_proof() -> None:
    """A checkpoint that witnesses cosigned is the same statement of its author."""
    lone = proof().sides[0].note
    forged = lone.replace(b"\n\n", f"\n\n— {origin(TENANT, FEED)} AAAAAAAA\n— w AAAAAAAA\n".encode())
    assert lone_note(forged, vkey(origin(TENANT, FEED), LOG_KEY.public)) == lone


def test_either_inclusion_alone_is_true_of_its_tree() -> None:
    """What makes a proof is both together; without the hashes to the left any later entry would do."""
    one, other = (side(LOG_KEY, TENANT, entries(FEED, 20, 3, name), 10) for name in "ab")
    for found in (one, other):
        leaves = [leaf_hash(entry) for entry in entries(FEED, 20, 3, "a" if found is one else "b")]
        root = NodesOf(leaves)
        assert verify_inclusion(leaves[10], 10, 20, found.path, root(5, 0))
