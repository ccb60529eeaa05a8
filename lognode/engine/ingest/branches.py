"""Whether a range belongs to another history of a feed than the one that is held, and where they part.

Pure. Knows no peers and no SQL. Invariant: nobody is accused but by a proof that anybody can check; what leads to no
signed root proves nothing, whoever sends it.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import TenantId
from lognode.core.limits import PROOFS_READ_MAX
from lognode.core.span import Entry, Range, decode_body, decode_header, stub_entry
from lognode.engine.ingest.proof import prove_range, read_control, read_opening, verify_note
from lognode.timeline.control.forks import check_feed_fork, parse_feed_fork
from lognode.timeline.proof.fork import ForkProof, Side, fork_proof
from lognode.timeline.proof.tree import Border, grow, inclusion_proof, root_of
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.state import FeedState
from lognode.timeline.verify.inert import named_body

_KIND: Final = b"feed.fork"


class Beside(NamedTuple):
    """What is held of a feed beside a range of it: the tree before the range, and the leaves from there on."""

    tenant: TenantRef
    feed: FeedRef
    opening: bytes  # data of its feed.open
    border: Border
    leaves: Sequence[bytes]
    side: Callable[[int], Side]  # an entry that is held, with its proof


class Weighed(NamedTuple):
    """How a range compares with what is held.

    same: it begins with, or goes on from, what is held. forked: it parts from it at entry `seq`, as `proof` shows.
    apart: it leads to another root, so its history parts from ours before it begins, or it is made up. unproven: it is
    nothing that the author signed.
    """

    verdict: Literal["same", "forked", "apart", "unproven"]
    seq: int = 0
    proof: ForkProof | None = None


def weigh(beside: Beside, found: Range) -> Weighed:
    """How a range compares with what is held of its feed, which must reach to where the range begins."""
    assert found.start == beside.border.size
    try:
        signer, opening = _signer(beside, found)
        verify_note(beside.tenant.tenant_id, signer, found.note)
    except PeerError:
        return Weighed("unproven")
    try:
        proven = prove_range(beside.tenant.tenant_id, FeedState(signer, beside.border, {}), found)
    except PeerError:
        return Weighed("apart")
    pairs = enumerate(zip(beside.leaves, proven.leaves, strict=False))
    at = next((at for at, (ours, theirs) in pairs if ours != theirs), None)
    if at is None:
        return Weighed("same", found.stop)
    seq = found.start + at
    path = path_in(beside.border, proven.leaves, seq)
    theirs = Side(_entry_bytes(found, seq), tuple(path), found.note)
    try:
        return Weighed("forked", seq, fork_proof(seq, (beside.opening, beside.side(seq)), (opening, theirs)))
    except CallerError:
        return Weighed("unproven")


def plan_branch(beside: Beside, ranges: Sequence[Range]) -> tuple[ForkProof, list[Any]] | None:
    """The proof that these ranges, one behind the other, are of another history, and the rows of `branches`.

    None where they are not. What comes behind a range that is not proven is left out.
    """
    weighed = weigh(beside, ranges[0])
    if weighed.proof is None:
        return None
    signer, _ = _signer(beside, ranges[0])
    border, seq = beside.border, ranges[0].start
    rows: list[list[Any]] = []
    for part in ranges:
        if part.start != seq or not part.entries:
            break
        try:
            proven = prove_range(beside.tenant.tenant_id, FeedState(signer, border, {}), part)
        except PeerError:
            break
        rows += [[at, *_whole(entry), None] for at, entry in enumerate(proven.entries, seq) if at >= weighed.seq]
        rows[-1][-1] = part.note
        border, seq = proven.growth.border, part.stop
    tip = root_of(border)
    return weighed.proof, [value for row in rows for value in (beside.feed.number, tip, *row)]


def proofs_in(tenant: TenantId, entries: Iterable[Entry]) -> list[ForkProof]:
    """The proofs of forks in these entries, whoever wrote them: they prove themselves."""
    found = []
    for entry in entries:
        if entry.body is None or _KIND not in entry.header:
            continue
        try:
            if decode_header(entry.header).kind == "feed.fork":
                said = parse_feed_fork(decode_body(entry.body).data)
                check_feed_fork(tenant, said)
                found.append(said.proof)
        except CallerError:
            continue
        if len(found) >= PROOFS_READ_MAX:
            break
    return found


def path_in(border: Border, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of a leaf behind a border, in the tree that these leaves make of it."""
    start = border.size
    before = grow(border, leaves[: index - start]).border

    def node(level: int, at: int) -> bytes:
        first = at << level
        if first > index:
            return root_of(grow(Border(0, ()), leaves[first - start : first - start + (1 << level)]).border)
        found = before.nodes[level]
        assert found is not None
        return found

    return inclusion_proof(index, start + len(leaves), node)


def _signer(beside: Beside, found: Range) -> tuple[FeedRef, bytes]:
    """Whose key signs the history of a range, and the opening that says so: another one's where a feed is opened twice.

    Raises PeerError("range.unproven").
    """
    if found.start or not found.entries:
        return beside.feed, beside.opening
    opened = read_opening(beside.tenant, found.feed, found.entries[0])
    if opened.log_key == beside.feed.log_key:
        return beside.feed, beside.opening
    return opened, read_control(found.entries[0])[1]


def _entry_bytes(found: Range, seq: int) -> bytes:
    entry = found.entries[seq - found.start]
    return stub_entry(found.feed, seq, entry.hlc, entry.visibility, entry.header_sha256)


def _whole(entry: Entry) -> Entry:
    """An entry with no body but the one that its header names."""
    named = named_body(entry.header)
    if entry.body is None or named == (sha256(entry.body).digest(), len(entry.body)):
        return entry
    return entry._replace(body=None)
