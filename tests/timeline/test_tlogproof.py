"""Proof files: what passes, and that no change of one byte does."""

from base64 import b64encode
from hashlib import sha256

import pytest

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import NOTE_BYTES_MAX
from lognode.core.span import entry_bytes, leaf_hash, span_id
from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.checkpoint import origin, sign_checkpoint, vkey
from lognode.timeline.proof.tlogproof import CheckedProof, check_proof, format_proof, parse_proof
from lognode.timeline.proof.tree import EMPTY, grow, inclusion_proof, perfect_rows, root_of

KEYS = NodeKeys.from_seed(bytes(range(32)))
TENANT = TenantId(b"t" * 20)
FEED = FeedId(b"f" * 16)
LOG_KEY = KEYS.log_key(FEED)
VKEY = vkey(origin(TENANT, FEED), LOG_KEY.public)
HLC = 1_700_000_000_000 << 16


def entry_of(seq: int, *, feed: FeedId = FEED, hlc: int = HLC, visibility: int = 1) -> bytes:
    return entry_bytes(feed, seq, hlc, visibility, b"header %d" % seq)


def log_of(entries: list[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The signed checkpoint of a feed that holds these entries, and a proof for each."""
    leaves = [leaf_hash(entry) for entry in entries]
    rows = perfect_rows(leaves)
    root = root_of(grow(EMPTY, leaves).border)
    note = sign_checkpoint(LOG_KEY, TENANT, FEED, len(entries), root)
    paths = [inclusion_proof(at, len(leaves), lambda level, index: rows[level][index]) for at in range(len(leaves))]
    return note, paths


ENTRIES = [entry_of(seq) for seq in range(7)]
NOTE, PATHS = log_of(ENTRIES)
PROOF = format_proof(ENTRIES[5], 5, PATHS[5], NOTE)


def refused(raw: bytes, vkey_text: str = VKEY) -> str:
    with pytest.raises(CallerError) as caught:
        check_proof(raw, vkey_text)
    assert caught.value.code == "proof.invalid"
    return caught.value.detail


def test_a_proof_is_the_text_that_the_specification_shows() -> None:
    lines = PROOF.decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra " + b64encode(ENTRIES[5]).decode(), "index 5"]
    assert lines[3:6] == [b64encode(step).decode() for step in PATHS[5]]
    assert "\n".join(lines[6:]).encode() == b"\n" + NOTE
    parsed = parse_proof(PROOF)
    assert (parsed.entry, parsed.index, parsed.hashes, parsed.note) == (ENTRIES[5], 5, tuple(PATHS[5]), NOTE)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 300])
def test_every_entry_of_a_feed_is_proven(size: int) -> None:
    entries = [entry_of(seq) for seq in range(size)]
    note, paths = log_of(entries)
    root = root_of(grow(EMPTY, [leaf_hash(entry) for entry in entries]).border)
    for seq, entry in enumerate(entries):
        checked = check_proof(format_proof(entry, seq, paths[seq], note), VKEY)
        assert checked == CheckedProof(entry, seq, size, root, span_id(HLC, leaf_hash(entry)), TENANT, FEED)


def test_every_changed_bit_is_refused() -> None:
    for at in range(len(PROOF)):
        for bit in range(8):
            refused(PROOF[:at] + bytes([PROOF[at] ^ 1 << bit]) + PROOF[at + 1 :])


def test_every_dropped_or_added_byte_is_refused() -> None:
    for at in range(len(PROOF)):
        refused(PROOF[:at])
        refused(PROOF[:at] + PROOF[at + 1 :])
        for added in b"\n\r \t=0A\x00\xff":
            refused(PROOF[:at] + bytes([added]) + PROOF[at:])
    for added in b"\n\r \t=0A\x00\xff":
        refused(PROOF + bytes([added]))


def test_each_line_may_have_no_other_text() -> None:
    head, _, note = PROOF.partition(b"\n\n")
    first, extra, index, *hashes = head.split(b"\n")

    def proof(*lines: bytes) -> bytes:
        return b"\n".join(lines) + b"\n\n" + note

    assert proof(first, extra, index, *hashes) == PROOF
    assert "first line" in refused(proof(b"c2sp.org/tlog-proof@v2", extra, index, *hashes))
    assert "second line" in refused(proof(first, index, extra, *hashes))
    assert "second line" in refused(proof(first, index, *hashes))
    assert "second line" in refused(proof(first, b"extra  " + extra[6:], index, *hashes))
    assert "second line" in refused(proof(first, b"extra " + b64encode(ENTRIES[5] + b"\x00"), index, *hashes))
    assert "second line" in refused(proof(first, extra[6:], index, *hashes))
    assert "third line" in refused(proof(first, extra, b"index 05", *hashes))
    assert "third line" in refused(proof(first, extra, b"index +5", *hashes))
    assert "third line" in refused(proof(first, extra, b"5", *hashes))
    assert "third line" in refused(proof(first, extra, b"index %d" % 2**63, *hashes))
    assert "third line" in refused(proof(first, extra, *hashes))
    assert "missing" in refused(proof(first, extra))
    assert "not the base64 of a hash" in refused(proof(first, extra, index, hashes[0][:-1], *hashes[1:]))
    assert "not the base64 of a hash" in refused(proof(first, extra, index, b64encode(bytes(33)), *hashes[1:]))
    assert "not ASCII" in refused(proof(first, extra, "index \u0665".encode(), *hashes))
    assert "no empty line" in refused(head)
    assert "at most" in refused(PROOF + bytes(NOTE_BYTES_MAX + 8192))


def test_hashes_in_another_number_or_order_are_refused() -> None:
    path = PATHS[5]
    for changed in ([], path[:-1], path[1:], [*path, path[0]], path[::-1]):
        assert "do not lead" in refused(format_proof(ENTRIES[5], 5, changed, NOTE))


def test_the_proof_of_another_entry_is_refused() -> None:
    assert "do not lead" in refused(format_proof(ENTRIES[5], 5, PATHS[4], NOTE))
    other = entry_of(5, visibility=2)
    assert "do not lead" in refused(format_proof(other, 5, PATHS[5], NOTE))


def test_an_entry_that_names_another_place_is_refused_even_where_its_leaf_stands() -> None:
    note, paths = log_of([entry_of(0), entry_of(5), entry_of(2)])
    assert "another place" in refused(format_proof(entry_of(5), 1, paths[1], note))
    assert "do not lead" in refused(format_proof(entry_of(5), 5, paths[1], note))


def test_an_entry_of_another_feed_is_refused_even_where_its_leaf_stands() -> None:
    other = entry_of(1, feed=FeedId(b"g" * 16))
    note, paths = log_of([entry_of(0), other])
    assert "another feed" in refused(format_proof(other, 1, paths[1], note))


@pytest.mark.parametrize("entry", [entry_of(0, hlc=2**63), entry_of(0, visibility=3)])
def test_an_entry_with_impossible_values_is_refused(entry: bytes) -> None:
    note, paths = log_of([entry])
    assert "time or visibility" in refused(format_proof(entry, 0, paths[0], note))


def test_a_checkpoint_of_another_key_feed_or_origin_is_refused() -> None:
    stranger = NodeKeys.from_seed(sha256(b"stranger").digest()).log_key(FEED)
    root = root_of(grow(EMPTY, [leaf_hash(entry) for entry in ENTRIES]).border)
    forged = sign_checkpoint(stranger, TENANT, FEED, 7, root)
    assert "no signature by the key" in refused(format_proof(ENTRIES[5], 5, PATHS[5], forged))
    assert "no signature by the key" in refused(PROOF, vkey(origin(TENANT, FeedId(bytes(16))), LOG_KEY.public))
    assert "no signature by the key" in refused(PROOF, vkey("example.com/log", LOG_KEY.public))


def test_a_key_of_another_feed_is_told_whose_proof_it_is() -> None:
    other = refused(PROOF, vkey(origin(TENANT, FeedId(bytes(16))), LOG_KEY.public))
    assert other.endswith(f"; it is of {origin(TENANT, FEED)}")
    stranger = NodeKeys.from_seed(sha256(b"stranger").digest()).log_key(FEED)
    assert "it is of" not in refused(PROOF, vkey(origin(TENANT, FEED), stranger.public))


def test_a_log_that_is_not_named_as_lognode_names_feeds_is_refused() -> None:
    name = "example.com/log"
    text = f"{name}\n1\n{b64encode(leaf_hash(ENTRIES[0])).decode()}\n"
    key_id = sha256(name.encode() + b"\n\x01" + LOG_KEY.public).digest()[:4]
    line = b64encode(key_id + LOG_KEY.sign(text.encode())).decode()
    note = f"{text}\n— {name} {line}\n".encode()
    assert "origin" in refused(format_proof(ENTRIES[0], 0, [], note), vkey(name, LOG_KEY.public))


def test_a_malformed_verifier_key_is_not_blamed_on_the_proof() -> None:
    with pytest.raises(CallerError) as caught:
        check_proof(PROOF, VKEY[:-1])
    assert caught.value.code == "vkey.malformed"


def test_every_changed_character_of_the_verifier_key_is_refused() -> None:
    for at in range(len(VKEY)):
        for other in {"A", "b", "+", "/", "0", "="} - {VKEY[at]}:
            with pytest.raises(CallerError):
                check_proof(PROOF, VKEY[:at] + other + VKEY[at + 1 :])
