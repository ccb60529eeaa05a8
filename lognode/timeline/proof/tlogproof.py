"""Proofs for offline verifiers: C2SP tlog-proof text with a span's entry in its `extra` line.

Owns the text and the order of checks. Must not know where entries and hashes come from. Invariant: a proof that
passes leaves nothing unsaid: its entry names the same feed and place as the signed checkpoint and the index, and
no other bytes mean the same proof.
Source: C2SP tlog-proof; docs/protocol.md, Proofs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, FeedId, SpanId, TenantId
from lognode.core.limits import PROOF_BYTES_MAX
from lognode.core.span import ENTRY_BYTES, VISIBILITIES, leaf_hash, span_id
from lognode.timeline.proof.checkpoint import (
    decode_base64,
    encode_base64,
    parse_checkpoint,
    parse_note,
    parse_number,
    parse_origin,
    verify_checkpoint,
    vkey,
)
from lognode.timeline.proof.policy import Policy
from lognode.timeline.proof.tree import HASH_BYTES, verify_inclusion

_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_SEQ = slice(FEED_ID_BYTES, FEED_ID_BYTES + 8)
_HLC = slice(FEED_ID_BYTES + 8, FEED_ID_BYTES + 16)
_VISIBILITY_AT: Final = FEED_ID_BYTES + 16


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The parts of a proof, none of them checked against another."""

    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """What a proof that passed every check shows: this entry is leaf `index` of the feed's tree of `size`."""

    entry: bytes
    index: int
    size: int
    root: bytes
    span_id: SpanId
    tenant: TenantId
    feed: FeedId


def format_proof(entry: bytes, index: int, hashes: Sequence[bytes], note: bytes) -> bytes:
    """The proof text: `hashes` is the audit path of leaf `index` in the tree of the checkpoint `note`."""
    lines = [_FIRST_LINE, f"extra {encode_base64(entry)}", f"index {index}", *map(encode_base64, hashes), "", ""]
    return "\n".join(lines).encode() + note


def parse_proof(raw: bytes) -> TlogProof:
    """The parts of a proof text. Raises CallerError("proof.invalid")."""
    if len(raw) > PROOF_BYTES_MAX:
        raise CallerError("proof.invalid", f"{len(raw)} bytes, at most {PROOF_BYTES_MAX}")
    head, divider, note = raw.partition(b"\n\n")
    if not divider:
        raise CallerError("proof.invalid", "no empty line before a checkpoint")
    if not head.isascii():
        raise CallerError("proof.invalid", "a line before the checkpoint is not ASCII")
    first, *lines = head.decode().split("\n")
    if first != _FIRST_LINE:
        raise CallerError("proof.invalid", f"the first line is not {_FIRST_LINE}")
    if len(lines) < 2:
        raise CallerError("proof.invalid", "the extra or index line is missing")
    extra, index_text, *hash_texts = lines
    entry = decode_base64(extra.removeprefix("extra ")) if extra.startswith("extra ") else None
    if entry is None or len(entry) != ENTRY_BYTES:
        raise CallerError("proof.invalid", f"the second line is not 'extra' and the base64 of {ENTRY_BYTES} bytes")
    index = parse_number(index_text.removeprefix("index ")) if index_text.startswith("index ") else None
    if index is None:
        raise CallerError("proof.invalid", "the third line is not 'index' and a number")
    return TlogProof(entry, index, tuple(map(_parse_hash, hash_texts)), note)


def _parse_hash(text: str) -> bytes:
    found = decode_base64(text)
    if found is None or len(found) != HASH_BYTES:
        raise CallerError("proof.invalid", f"{text[:80]!r} is not the base64 of a hash")
    return found


def check_policy(raw: bytes, policy: Policy, vkey_text: str | None = None) -> tuple[CheckedProof, dict[str, int]]:
    """What the proof shows to whoever trusts a policy, and when which of its witnesses cosigned, Unix time by name.

    `vkey_text` is the one log that counts; by default those of the policy do. Raises CallerError proof.invalid,
    policy.unmet, or vkey.malformed.
    """
    proof = parse_proof(raw)
    if vkey_text is None:
        vkey_text = _log_of(proof.note, policy)
    checked = check_proof(raw, vkey_text)
    found, is_met = policy.judge(parse_note(proof.note))
    if not is_met:
        names = ", ".join(sorted(found)) or "none"
        raise CallerError("policy.unmet", f"quorum {policy.quorum}: of the witnesses have cosigned: {names:.300}")
    return checked, {name: held.time_s for name, held in found.items()}


def _log_of(note: bytes, policy: Policy) -> str:
    try:
        name = parse_checkpoint(note).origin
    except CallerError as error:
        raise CallerError("proof.invalid", f"checkpoint: {error.detail}") from error
    for log in policy.logs:
        if log.name == name and log.public is not None:
            return vkey(name, log.public)
    raise CallerError("proof.invalid", f"the policy names no log {name:.200}")


def check_proof(raw: bytes, vkey_text: str) -> CheckedProof:
    """What the proof shows to whoever trusts this verifier key.

    Raises CallerError("proof.invalid"), whose detail says which check failed, or CallerError("vkey.malformed").
    """
    proof = parse_proof(raw)
    try:
        checkpoint = verify_checkpoint(proof.note, vkey_text)
        tenant, feed = parse_origin(checkpoint.origin)
    except CallerError as error:
        if error.code == "vkey.malformed":
            raise
        raise CallerError("proof.invalid", f"checkpoint: {error.detail}") from error
    entry = proof.entry
    hlc = int.from_bytes(entry[_HLC])
    if entry[:FEED_ID_BYTES] != feed:
        raise CallerError("proof.invalid", "the entry is of another feed than the checkpoint")
    if int.from_bytes(entry[_SEQ]) != proof.index:
        raise CallerError("proof.invalid", "the entry has another place in its feed than the index says")
    if hlc >> 63 or entry[_VISIBILITY_AT] >= len(VISIBILITIES):
        raise CallerError("proof.invalid", "the entry has a time or visibility that does not exist")
    leaf = leaf_hash(entry)
    if not verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise CallerError("proof.invalid", "the hashes do not lead from the entry to the checkpoint's root")
    return CheckedProof(entry, proof.index, checkpoint.size, checkpoint.root, span_id(hlc, leaf), tenant, feed)
