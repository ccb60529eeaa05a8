"""Plans one commit of one tenant: place, time, hashes, tree, one signature, and the rows to write.

Pure: it knows no SQL and no clock. Nothing that it makes may leave memory before its rows are committed.
Invariant: a plan continues exactly the state that it was given, so a state is used for one plan only, unless
that plan is known not to be in the database.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple

import msgspec

from lognode.core.clock import tick
from lognode.core.draft import Draft, annotations_of, read_origin, signed_array
from lognode.core.errors import CallerError
from lognode.core.ids import NONCE_BYTES, LogLine, SpanId
from lognode.core.limits import FORMAT_VERSION
from lognode.core.span import EXECUTED, decode_body, encode_body, encode_header
from lognode.engine.agreement.folding import fold_rows
from lognode.engine.receipt import Receipt
from lognode.engine.ruling.approvals.holding import approval_in, held_key, is_of
from lognode.identity.keys import KeyPair
from lognode.timeline.agreement.merges import Merged
from lognode.timeline.agreement.rules.annotations import is_simulated
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.tree import HASH_BYTES, TILE_LEVELS, TILE_WIDTH, grow, root_of
from lognode.timeline.record import FeedRef, Record, body_of, header_of, id_of, labels_of, leaf_of, row_of
from lognode.timeline.state import FeedState, Held, Numbers, TenantState, WritePlan

SPAN_COLUMNS, HEADER_COLUMN = 11, 10  # of the rows of spans
_BYTE = [bytes([value]) for value in range(256)]

# What a call of the mailbox comes to: the receipts of its drafts, up to the first one that was refused.
Outcome = tuple[list[Receipt], CallerError | None]


class AppendPlan(NamedTuple):
    """What to write, what the tenant's state is once that is committed, and what to answer then."""

    write: WritePlan
    state: TenantState
    numbers: Numbers
    outcomes: list[Outcome]
    merged: Sequence[Merged] = ()  # what the merge before all drafts names


class Repeat(NamedTuple):
    """The second draft of a group with one idempotency key; `first` is the index of the draft that makes the span."""

    first: int


class Waiting(NamedTuple):
    """A draft that waits for approval; `firing` is the index of the firing that tells so."""

    firing: int
    duplicate: bool = False


# What a draft comes to: the index of a new span, a span of this group, one that was there before, or none so far.
Place = int | Repeat | Waiting | Receipt


class Firing(NamedTuple):
    """A span by which this node tells what its rules made of a draft.

    `about` is the index of the draft's span, which causes this one; None where no span came of it. `tell` makes another
    of it that names that span; `row` is what is kept of a draft that waits, given the id of this one.
    """

    about: int | None
    draft: Draft
    tell: Callable[[SpanId], Draft] | None = None
    row: Callable[[SpanId], list[Any]] | None = None


class Chosen(NamedTuple):
    """The drafts of a group that need a span, and how each call's receipts come from them; firings follow behind."""

    drafts: list[Draft]
    places: Sequence[Sequence[Place]]  # one a call
    errors: list[CallerError | None]
    firings: Sequence[Firing] = ()


def plan_append(
    state: TenantState,
    numbers: Numbers,
    calls: Sequence[Sequence[Draft]],
    known: Mapping[bytes, Held],
    feeds: Mapping[int, FeedRef],
    *,
    log_key: KeyPair,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> AppendPlan:
    """One commit of `calls` at the head of the tenant's open feed.

    `known` maps idempotency keys to spans written under them before. A call stops at the first draft whose key
    stands for other content (idempotency.mismatch); the other calls are not touched by that.
    """
    chosen = choose(calls, known, feeds)
    return plan_chosen(state, numbers, chosen, log_key=log_key, now_ms=now_ms, random_bytes=random_bytes)


def plan_chosen(
    state: TenantState,
    numbers: Numbers,
    chosen: Chosen,
    *,
    log_key: KeyPair,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> AppendPlan:
    """One commit of drafts that were chosen, and of firings behind them, at the head of the tenant's open feed."""
    head = state.head
    assert head is not None, "the feed is opened before anything is planned into it"
    rows = _Rows(state, numbers, head, first_hlc(state, now_ms) - 1)
    rows.fill(chosen.drafts, random_bytes(NONCE_BYTES * len(chosen.drafts)))
    if chosen.firings:
        told = [_told(firing, rows.ids) for firing in chosen.firings]
        rows.fill(told, random_bytes(NONCE_BYTES * len(told)))
        kept = zip(chosen.firings, rows.ids[len(chosen.drafts) :], strict=True)
        rows.tables["held"] = [value for firing, span in kept if firing.row for value in firing.row(span)]
    subjects = fold_rows(rows.tables, rows.kinds)
    growth = grow(head.border, rows.leaves)
    tiles, tile_rows = fold_tiles(head, growth.nodes)
    size = growth.border.size
    later, checkpoints, dropped = head, [], []
    if rows.ids:
        later = head.extended(growth.border, tiles, rows.hlc, rows.weight())
        dropped = head.dropped(later)
        note = sign_checkpoint(log_key, state.tenant.tenant_id, head.feed.feed_id, size, root_of(growth.border))
        checkpoints.append((head.feed.number, size, note))
    receipts = rows.receipts(size)
    behind = receipts[len(chosen.drafts) :]
    outcomes = [
        ([receipts[place] if isinstance(place, int) else _known(place, receipts, behind) for place in places], error)
        for places, error in zip(chosen.places, chosen.errors, strict=True)
    ]
    after = state._replace(
        position=state.position + len(rows.ids),
        hlc=rows.hlc if rows.ids else state.hlc,
        head=later,
        kinds=rows.kinds,
        actors=rows.actors,
    )
    write = WritePlan(rows.tables, tile_rows, checkpoints, dropped, subjects=subjects)
    return AppendPlan(write, after, rows.numbers, outcomes)


def first_hlc(state: TenantState, now_ms: int) -> int:
    """The time of the first span of a commit; each further one is one tick later."""
    return tick(state.hlc, now_ms)


def _told(firing: Firing, ids: Sequence[SpanId]) -> Draft:
    if firing.about is not None and firing.tell is not None:
        return firing.tell(ids[firing.about])
    return firing.draft if firing.about is None else msgspec.structs.replace(firing.draft, caused_by=ids[firing.about])


def choose(calls: Sequence[Sequence[Draft]], known: Mapping[bytes, Held], feeds: Mapping[int, FeedRef]) -> Chosen:
    """Which drafts are new, by their idempotency keys; two of one group may share a key as well."""
    if not any(draft.idem for call in calls for draft in call):
        starts = accumulate([len(call) for call in calls], initial=0)
        spread = [range(start, start + len(call)) for start, call in zip(starts, calls, strict=False)]
        return Chosen(list(chain.from_iterable(calls)), spread, [None] * len(calls))
    drafts: list[Draft] = []
    places: list[list[Place]] = []
    errors: list[CallerError | None] = []
    first: dict[bytes, int] = {}
    for call in calls:
        placed: list[Place] = []
        error = None
        for draft in call:
            # A restored copy stands for its key besides the span that it is a copy of.
            idem = None if is_restored(draft) else draft.idem
            if idem is not None and idem in known:
                held = known[idem]
                if signed_array(draft) != signed_array(draft_of(held.record)):
                    error = mismatch()
                    break
                placed.append(_receipt_of(held, feeds[held.record.feed]))
                continue
            if known and (waiting := _waiting_of(draft, known)):
                if not is_of(_data_of(waiting.record), draft):
                    error = mismatch()
                    break
                receipt = _receipt_of(waiting, feeds[waiting.record.feed])
                placed.append(msgspec.structs.replace(receipt, held=True))
                continue
            if idem is not None and idem in first:
                if signed_array(draft) != signed_array(drafts[first[idem]]):
                    error = mismatch()
                    break
                placed.append(Repeat(first[idem]))
                continue
            if idem is not None:
                first[idem] = len(drafts)
            placed.append(len(drafts))
            drafts.append(draft)
        places.append(placed)
        errors.append(error)
    return Chosen(drafts, places, errors)


def _waiting_of(draft: Draft, known: Mapping[bytes, Held]) -> Held | None:
    """The firing that tells that a draft with this key waits; none for one that enough have approved."""
    if draft.idem is None or is_restored(draft) or approval_in(draft.annotations):
        return None
    return known.get(held_key(draft.idem))


def is_restored(draft: Draft) -> bool:
    """Whether it is the copy of a span of this node that lost its effect, which is written as it was."""
    return draft.origin is not None and draft.origin.way == "restore"


def draft_of(record: Record) -> Draft:
    """The draft that a stored span was made from. Raises NodeFault("database.damaged")."""
    header = header_of(record)
    raw = body_of(record, header)
    assert raw is not None, "a span with an idempotency key has its body"
    body = decode_body(raw)
    status = EXECUTED if is_simulated(body.annotations) else header.status
    return Draft(
        header.kind, body.title, body.data, tuple(body.tags), body.subject, body.contract_id, body.workflow_id,
        body.flow_id, tuple(body.related), body.metadata, record.visibility, status, header.caused_by,
        header.actor, body.actor_signature, body.idem, read_origin(body.annotations),
    )  # fmt: skip


def _data_of(record: Record) -> bytes:
    raw = body_of(record, header_of(record))
    assert raw is not None, "a span with an idempotency key has its body"
    return decode_body(raw).data


def mismatch() -> CallerError:
    """What is answered to a key that stands for other content."""
    return CallerError("idempotency.mismatch", "this key stands for a span with other content")


def _known(place: Repeat | Waiting | Receipt, receipts: list[Receipt], behind: list[Receipt]) -> Receipt:
    if isinstance(place, Waiting):
        return msgspec.structs.replace(behind[place.firing], held=True, duplicate=place.duplicate)
    if isinstance(place, Repeat):
        return msgspec.structs.replace(receipts[place.first], duplicate=True)
    return place


def _receipt_of(held: Held, feed: FeedRef) -> Receipt:
    record, size = held
    leaf = leaf_of(record, feed.feed_id)
    return Receipt(id_of(record, feed.feed_id), feed.feed_id, record.seq, record.position, leaf, size, duplicate=True)


class _Rows:
    """The rows of a plan as it grows, one span after the other."""

    def __init__(self, state: TenantState, numbers: Numbers, head: FeedState, hlc: int) -> None:
        self.tenant = state.tenant.number
        self.feed = head.feed
        self.start = head.border.size
        self.first_position = state.position + 1
        self.hlc = hlc
        self.kinds = state.kinds
        self.actors = state.actors
        self.numbers = numbers
        self.leaves: list[bytes] = []
        self.ids: list[SpanId] = []
        self.tables: dict[str, list[Any]] = {
            name: [] for name in ("kinds", "actors", "spans", "bodies", "labels", "idems")
        }
        self._row = row_of(self.tenant, self.first_position)
        self._are_copies = False  # the dictionaries, which are copied once before they grow

    def fill(self, drafts: Sequence[Draft], nonces: bytes) -> None:
        """Place drafts one after the other: encode, hash, and note their rows.

        This runs for every span ever written, so names are local and core.span's formulas are written out.
        """
        leaves, ids = self.leaves, self.ids
        spans, bodies = self.tables["spans"], self.tables["bodies"]
        tenant, feed, prefix = self.tenant, self.feed.number, b"\x00" + self.feed.feed_id
        row, seq, hlc, at = self._row + len(ids), self.start + len(ids), self.hlc, 0
        for draft in drafts:
            hlc += 1
            tags, actor, cause, status = draft.tags, draft.actor, draft.caused_by, draft.status
            subject, contract, workflow, flow = draft.subject, draft.contract_id, draft.workflow_id, draft.flow_id
            visibility, idem, kind_name, origin = draft.visibility, draft.idem, draft.kind, draft.origin
            annotations = draft.annotations or (b"" if origin is None else annotations_of(origin))
            body = encode_body(
                (
                    nonces[at : at + NONCE_BYTES], draft.title, draft.data, tags, subject, contract, workflow, flow,
                    draft.related, draft.metadata, annotations, draft.actor_signature, idem,
                )
            )  # fmt: skip
            header = encode_header((FORMAT_VERSION, kind_name, actor, status, cause, sha256(body).digest(), len(body)))
            stub = hlc.to_bytes(8, "big")
            leaf = sha256(prefix + seq.to_bytes(8, "big") + stub + _BYTE[visibility] + sha256(header).digest()).digest()
            leaves.append(leaf)
            ids.append(SpanId(stub + leaf[:16]))
            kind = self.kinds.get(kind_name) or self._kind(kind_name)
            who = None if actor is None else self.actors.get(actor) or self._actor(actor)
            spans += (row, tenant, feed, seq, hlc, visibility, kind, who, status, cause, header)
            bodies += (row, body)
            if tags or subject or contract or workflow or flow or annotations:
                for field, value in labels_of(draft):
                    self.tables["labels"] += (tenant, field, value, hlc, row)
            if idem is not None:
                self.tables["idems"] += (tenant, idem, row)
            row, seq, at = row + 1, seq + 1, at + NONCE_BYTES
        self.hlc = hlc

    def weight(self) -> int:
        """Bytes of headers and bodies."""
        headers, bodies = self.tables["spans"][HEADER_COLUMN::SPAN_COLUMNS], self.tables["bodies"][1::2]
        return sum(map(len, headers)) + sum(map(len, bodies))

    def receipts(self, size: int) -> list[Receipt]:
        """The receipts of all placed drafts, once the size of the tree is known."""
        feed, seq, position = self.feed.feed_id, self.start, self.first_position
        return [
            Receipt(span, feed, seq + at, position + at, leaf, size)
            for at, (span, leaf) in enumerate(zip(self.ids, self.leaves, strict=True))
        ]

    def _kind(self, name: str) -> int:
        number = self.numbers.kind
        self.numbers = self.numbers._replace(kind=number + 1)
        self._copy()
        self.kinds[name] = number
        self.tables["kinds"] += (number, self.tenant, name)
        return number

    def _actor(self, actor: LogLine) -> int:
        number = self.numbers.actor
        self.numbers = self.numbers._replace(actor=number + 1)
        self._copy()
        self.actors[actor] = number
        self.tables["actors"] += (number, self.tenant, actor)
        return number

    def _copy(self) -> None:
        """Let the dictionaries of the state before stay as they were; once a plan, since they may be large."""
        if not self._are_copies:
            self.kinds, self.actors, self._are_copies = dict(self.kinds), dict(self.actors), True


def fold_tiles(
    head: FeedState, nodes: Mapping[int, list[bytes]]
) -> tuple[dict[int, tuple[int, bytes]], list[tuple[int, int, int, bytes]]]:
    """The open tile of each level after `nodes` were completed, and the tile rows to write."""
    tiles = dict(head.tiles)
    rows: list[tuple[int, int, int, bytes]] = []
    for tree_level, hashes in nodes.items():
        level = tree_level // TILE_LEVELS
        index = head.border.size >> tree_level
        rest = iter(hashes)
        while chunk := list(islice(rest, TILE_WIDTH - index % TILE_WIDTH)):
            tile = index // TILE_WIDTH
            held = tiles[level][1] if index % TILE_WIDTH else b""
            tiles[level] = (tile, held + b"".join(chunk))
            assert len(tiles[level][1]) <= TILE_WIDTH * HASH_BYTES
            rows.append((head.feed.number, level, *tiles[level]))
            index += len(chunk)
    return tiles, rows
