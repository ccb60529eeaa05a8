"""A small history for the vectors, planned by the engine itself: a tenant, its first feed, and a second one.

Everything random is derived from a label, and the clock stands still or jumps as told, so that every run gives
the same bytes.
"""

from collections.abc import Sequence
from hashlib import shake_128
from typing import Any, Final, NamedTuple

import msgspec
from cbor2 import dumps
from nacl.signing import SigningKey

from lognode.core.clock import Clock, hlc_from_ms, state_hash
from lognode.core.draft import Draft, idem_key, signing_message
from lognode.core.ids import FeedId, LogLineKind, SpanId, b32encode, format_logline, logline
from lognode.core.span import PRIVATE, PUBLIC, SIMULATED, entry_bytes, leaf_hash
from lognode.engine.commit import AppendPlan, plan_append
from lognode.engine.control.opening import NONCES_BYTES, Moment, plan_feed, plan_tenant
from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.checkpoint import origin, vkey
from lognode.timeline.proof.tlogproof import format_proof
from lognode.timeline.proof.tree import EMPTY, consistency_proof, grow, inclusion_proof, root_of
from lognode.timeline.state import Numbers, TenantState

NODE_SEED: Final = bytes(range(32))
ACTOR_SEED: Final = bytes(range(32, 64))
NOW_MS: Final = 1_700_000_000_000
KEYS: Final = NodeKeys.from_seed(NODE_SEED)
ACTOR: Final = logline(LogLineKind.PERSON, bytes(SigningKey(ACTOR_SEED).verify_key))
SPAN_COLUMNS: Final = 11
IDEMPOTENCY_KEY: Final = "order-4711"


class Entry(NamedTuple):
    """A span as it was written."""

    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes
    span: SpanId
    leaf: bytes
    position: int


class Feed(NamedTuple):
    """A feed, and the notes by which its commits were signed."""

    feed_id: FeedId
    log_key: bytes
    nonce: bytes
    entries: list[Entry]
    notes: list[tuple[int, bytes]]

    def leaves(self, size: int) -> list[bytes]:
        return [entry.leaf for entry in self.entries[:size]]

    def entry(self, seq: int) -> bytes:
        span = self.entries[seq]
        return entry_bytes(self.feed_id, seq, span.hlc, span.visibility, span.header)

    def proof(self, seq: int) -> bytes:
        """The proof under the newest checkpoint."""
        size, note = self.notes[-1]
        path = inclusion_proof(seq, size, NodesOf(self.leaves(size)))
        return format_proof(self.entry(seq), seq, path, note)


class NodesOf:
    """Perfect subtrees over leaves, each hashed anew."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    def __call__(self, level: int, index: int) -> bytes:
        return root_at(self._leaves[index << level : (index + 1) << level])


def root_at(leaves: Sequence[bytes]) -> bytes:
    return root_of(grow(EMPTY, leaves).border)


def chance(label: str, size: int) -> bytes:
    """Bytes that look random and follow from a label."""
    return shake_128(b"lognode vectors " + label.encode()).digest(size)


class History:
    """The tenant as it grows, one plan after the other."""

    def __init__(self) -> None:
        self.tenant_nonce = chance("founding", NONCES_BYTES)[:16]
        self.feeds: list[Feed] = []
        moment = Moment(NOW_MS, chance("founding", NONCES_BYTES))
        plan = plan_tenant(KEYS, Numbers(0, 1, 1, 1), "default", moment)
        self.tenant = plan.state.tenant
        self._take(plan, opened=moment)

    @property
    def state(self) -> TenantState:
        return self._plan.state

    def append(self, now_ms: int, *drafts: Draft) -> list[SpanId]:
        """The ids of drafts that one commit wrote."""
        assert self.state.head is not None
        feed = self.state.head.feed.feed_id
        label = f"commit {self.state.position}"
        plan = plan_append(
            self.state,
            self._plan.numbers,
            [drafts],
            {},
            {},
            log_key=KEYS.log_key(feed),
            now_ms=now_ms,
            random_bytes=lambda size: chance(label, size),
        )
        self._take(plan)
        return [receipt.id for receipt in plan.outcomes[0][0]]

    def open_feed(self, now_ms: int, hlc: int, reason: str) -> None:
        """Go on in a new feed, after the time `hlc`."""
        newest = [entry.span for entry in self.feeds[-1].entries[1:2]]  # tenant.create, which names feed.open
        moment = Moment(now_ms, chance("opening", NONCES_BYTES))
        state = self.state._replace(hlc=hlc)
        self._take(plan_feed(KEYS, state, self._plan.numbers, newest, reason, moment), opened=moment)

    def _take(self, plan: AppendPlan, opened: Moment | None = None) -> None:
        self._plan = plan
        tables, head = plan.write.rows, plan.state.head
        assert head is not None
        if opened is not None:
            self.feeds.append(Feed(head.feed.feed_id, head.feed.log_key, opened.nonce(1), [], []))
        feed = self.feeds[-1]
        spans = [tables["spans"][at : at + SPAN_COLUMNS] for at in range(0, len(tables["spans"]), SPAN_COLUMNS)]
        receipts = plan.outcomes[0][0]
        for row, body, receipt in zip(spans, tables["bodies"][1::2], receipts, strict=True):
            _, _, _, seq, hlc, visibility, *_, header = row
            leaf = leaf_hash(entry_bytes(feed.feed_id, seq, hlc, visibility, header))
            assert (leaf, seq) == (receipt.leaf, receipt.seq)
            feed.entries.append(Entry(seq, hlc, visibility, header, body, receipt.id, leaf, receipt.position))
        feed.notes.extend((size, note) for _, size, note in plan.write.checkpoints)


def signed_draft(history: History) -> Draft:
    """A draft that a person signed for the history's tenant."""
    draft = Draft(
        "contract.signed",
        title="Supply contract signed",
        data=dumps({"parties": ["Ada", "Grace"], "amount": 12.5, "final": True}),
        tags=("contract", "legal"),
        subject="contract 17",
        contract_id="17",
        actor=ACTOR,
    )
    signature = SigningKey(ACTOR_SEED).sign(signing_message(history.tenant.tenant_id, draft)).signature
    return msgspec.structs.replace(draft, actor_signature=signature)


def build_history() -> History:
    """Ten spans in two feeds, with every field of a span used somewhere."""
    history = History()
    tenant = history.tenant.tenant_id
    (order,) = history.append(NOW_MS, Draft("order.placed", title="Order 4711", subject="order 4711"))
    paid, _ = history.append(
        NOW_MS + 250,
        Draft(
            "order.paid",
            data=dumps({"amount": 1990, "currency": "EUR"}),
            tags=("paid", "web"),
            subject="order 4711",
            workflow_id="fulfilment",
            flow_id="4711",
            metadata=dumps({"source": "shop"}),
            caused_by=order,
            idem=idem_key(tenant, KEYS.logline, IDEMPOTENCY_KEY),
        ),
        Draft("note", title="Für die Akte: 你好", visibility=PRIVATE),
    )
    history.append(NOW_MS - 5_000, signed_draft(history))  # the wall clock was set back
    history.append(
        NOW_MS + 900_000,
        Draft("order.shipped", related=(order, paid), status=SIMULATED, visibility=PUBLIC, caused_by=paid),
        Draft("order.closed", data=b"\x18\x05", caused_by=paid),  # an author's own, longer encoding of 5
    )
    # The clock is set back by more than ten minutes: the node goes on in a new feed, at now.
    history.open_feed(NOW_MS + 1_000, hlc_from_ms(NOW_MS + 250) + 2, "clock")
    history.append(NOW_MS + 1_000, Draft("order.returned", subject="order 4711", caused_by=paid))
    return history


def describe_history(history: History) -> dict[str, Any]:
    """The content of feeds.json."""
    tenant = history.tenant.tenant_id
    heads = {feed.feed_id: (len(feed.entries), root_at(feed.leaves(len(feed.entries)))) for feed in history.feeds}
    return {
        "about": "One tenant of the node in keys.json: two feeds, each with its entries, roots, checkpoints and "
        "proofs. roots[n] is the root of the tree of size n. Bytes are hex, notes and proofs are text.",
        "node_seed": NODE_SEED.hex(),
        "node": format_logline(KEYS.logline),
        "tenant": {"nonce": history.tenant_nonce.hex(), "id": tenant.hex(), "text": b32encode(tenant)},
        "state": state_hash(Clock(heads)).hex(),
        "feeds": [_describe_feed(history, feed) for feed in history.feeds],
    }


def _describe_feed(history: History, feed: Feed) -> dict[str, Any]:
    name = origin(history.tenant.tenant_id, feed.feed_id)
    size = len(feed.entries)
    nodes = NodesOf(feed.leaves(size))
    return {
        "nonce": feed.nonce.hex(),
        "id": feed.feed_id.hex(),
        "text": b32encode(feed.feed_id),
        "log_key": feed.log_key.hex(),
        "origin": name,
        "vkey": vkey(name, feed.log_key),
        "entries": [
            {
                "seq": span.seq,
                "position": span.position,
                "hlc": span.hlc,
                "visibility": span.visibility,
                "header": span.header.hex(),
                "body": span.body.hex(),
                "entry": feed.entry(span.seq).hex(),
                "leaf": span.leaf.hex(),
                "id": b32encode(span.span),
            }
            for span in feed.entries
        ],
        "roots": [root_at(feed.leaves(at)).hex() for at in range(size + 1)],
        "checkpoints": [{"size": at, "note": note.decode()} for at, note in feed.notes],
        "proofs": [{"seq": seq, "size": size, "proof": feed.proof(seq).decode()} for seq in range(size)],
        "consistency": [
            {"first": at, "second": size, "proof": [step.hex() for step in consistency_proof(at, size, nodes)]}
            for at, _ in feed.notes
        ],
    }
