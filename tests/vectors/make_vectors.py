"""Writes the test vectors: `python -m tests.vectors.make_vectors` in the checkout's root.

Each file is one JSON object whose `about` says what is in it. Bytes are hex. Invariant: the same lognode writes
the same bytes, so a change of a file is a change of the format.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cbor2 import dumps, loads

from lognode.core.clock import HLC_MAX, Clock, hlc_from_ms, is_ahead, state_hash, tick
from lognode.core.draft import annotations_of, idem_key, parse_json_draft, signed_array, signing_message
from lognode.core.ids import FeedId, LogLineKind, b32encode, format_logline, logline
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import decode_body, decode_header, leaf_hash
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.proof.tree import EMPTY, TILE_LEVELS, TILE_WIDTH, consistency_proof, grow, inclusion_proof
from tests.vectors import refused, refused_notes
from tests.vectors.bundles import make_bundles
from tests.vectors.controls import make_controls
from tests.vectors.epochs import make_epochs
from tests.vectors.forks import make_forks
from tests.vectors.history import (
    ACTOR,
    ACTOR_SEED,
    IDEMPOTENCY_KEY,
    KEYS,
    NODE_SEED,
    NOW_MS,
    History,
    NodesOf,
    build_history,
    chance,
    describe_history,
    root_at,
    signed_draft,
)
from tests.vectors.joining import make_invites
from tests.vectors.memberships import make_memberships
from tests.vectors.merges import make_merges
from tests.vectors.messages import make_messages
from tests.vectors.news import make_news
from tests.vectors.node_files import make_announcements, make_backups, make_keyfiles
from tests.vectors.refused_signatures import signatures
from tests.vectors.restored import make_restored
from tests.vectors.rules import make_rules
from tests.vectors.states import make_states
from tests.vectors.tenants import make_tenants

FOLDER: Final = Path(__file__).parent
TREE_SIZES: Final = (0, 1, 2, 3, 4, 5, 7, 8, 255, 256, 257, 600)
TILED_SIZE: Final = 65_536 + 300
ORIGIN: Final = {
    "id": b32encode(bytes.fromhex("0199bc82280000000102030405060708090a0b0c0d0e0f10")),
    "at": "2025-10-07T02:31:10.592Z",
    "tenant": b32encode(bytes(range(20))),
    "node": format_logline(logline(LogLineKind.NODE, bytes(range(32)))),
    "feed": b32encode(bytes(range(16))),
    "seq": 256,
    "actor_signed": True,
    "as": "import",
}
VALUES: Final = {
    "nothing": "",
    "null": "f6",
    "false and true": "82f4f5",
    "the smallest integer": "3b7fffffffffffffff",
    "the largest integer": "1b7fffffffffffffff",
    "a half-width float": "f93c00",
    "a single-width float": "fa3f800000",
    "a double-width float": "fb3ff199999999999a",
    "minus zero": "f98000",
    "an integer in more bytes than it needs": "1b0000000000000005",
    "text in a longer head than it needs": "780161",
    "empty text, array and map": "836080a0",
    "text beyond the basic plane": "64f09f8c8d",
    "a map whose keys are not sorted": "a2616202616101",
    "keys that differ in case": "a2614101616102",
    "sixteen levels": "81" * 16 + "00",
}


def make_keys() -> dict[str, Any]:
    history = build_history()
    return {
        "about": "Keys that follow from a node's seed by HKDF-SHA-256, the certificate of its TLS key, and signatures "
        "on which Ed25519 verifiers differ.",
        "nodes": [_describe_keys(NODE_SEED, history), _describe_keys(chance("another node", 32), history)],
        "signatures": signatures(),
    }


def _describe_keys(seed: bytes, history: History) -> dict[str, Any]:
    keys = NodeKeys.from_seed(seed)
    tenant, feed = history.tenant.tenant_id, history.feeds[0].feed_id
    return {
        "seed": seed.hex(),
        "node_key": keys.public.hex(),
        "logline": format_logline(keys.logline),
        "tls_seed": keys.tls_seed().hex(),
        "tls_key": KeyPair(keys.tls_seed()).public.hex(),
        "tls_certificate": tls_certificate(keys.tls_seed()).hex(),
        "witness": {"tenant": tenant.hex(), "key": keys.witness_key(tenant).public.hex()},
        "log": {"feed": feed.hex(), "key": keys.log_key(feed).public.hex()},
    }


def make_ids() -> dict[str, Any]:
    samples = [bytes(16), b"\xff" * 16, bytes(range(20)), bytes(range(24)), b"\x80" + bytes(31), b"\x00" * 31 + b"\x01"]
    return {
        "about": "Base32 and LogLine IDs. `refused` texts are none, as the base32 of `size` bytes or as a LogLine ID.",
        "base32": [{"hex": data.hex(), "text": b32encode(data)} for data in samples],
        "loglines": [
            {"hex": name.hex(), "text": format_logline(name)}
            for name in (logline(kind, chance(kind.name, 32)) for kind in LogLineKind)
        ],
        "refused": refused.ids(),
    }


def make_values() -> dict[str, Any]:
    return {
        "about": "CBOR of data, metadata and annotations. `json` is the value; integers need 64 bits with sign.",
        "accepted": [
            {"name": name, "hex": text, "json": loads(bytes.fromhex(text)) if text else None}
            for name, text in VALUES.items()
        ],
        "refused": refused.values(),
    }


def make_records() -> dict[str, Any]:
    entries = [entry for feed in build_history().feeds for entry in feed.entries]
    return {
        "about": "Headers, bodies and control data that are read, with their elements in order, or refused.",
        "headers": {
            "accepted": [{"hex": e.header.hex(), "elements": _shown(decode_header(e.header))} for e in entries],
            "refused": refused.headers(),
        },
        "bodies": {
            "accepted": [{"hex": e.body.hex(), "elements": _shown(decode_body(e.body))} for e in entries],
            "refused": refused.bodies(),
        },
        "control": {"refused": refused.control()},
    }


def _shown(value: object) -> object:
    """A value for JSON; byte strings as {"hex": ...}."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_shown(item) for item in value] if isinstance(value, tuple | list) else value


def make_drafts() -> dict[str, Any]:
    history = build_history()
    tenant = history.tenant.tenant_id
    draft = signed_draft(history)
    assert draft.actor_signature is not None
    request = [*loads(signed_array(draft)), draft.actor_signature, IDEMPOTENCY_KEY]
    lines = [
        {"kind": "note"},
        {"kind": "note", "title": None, "data": None, "tags": [], "subject": ""},
        {"kind": "order.paid", "data": {"b": 1, "a": [1.5, None, True]}, "tags": ["web", "paid", "web"]},
        {
            "kind": "order.paid", "title": "Paid", "data": "€", "tags": ["paid"], "subject": "order 4711",
            "contract_id": "c", "workflow_id": "w", "flow_id": "f", "related": [b32encode(bytes(range(24)))],
            "metadata": {"source": "shop"}, "visibility": "public", "status": "simulated",
            "caused_by": b32encode(bytes(24)), "actor": format_logline(ACTOR), "idempotency_key": "k",
        },
        {"kind": "order.paid", "actor": format_logline(ACTOR), "origin": ORIGIN},
        {"kind": "order.paid", "origin": {**ORIGIN, "as": "replay", "via": [b32encode(bytes([1] * 24))], "run": "r"}},
    ]  # fmt: skip
    return {
        "about": "Drafts in both forms with the array that an actor signs and the annotations that follow; idempotency "
        "keys; what is refused.",
        "json": [_describe_line(json.dumps(line, ensure_ascii=False)) for line in lines],
        "signed": {
            "tenant": tenant.hex(),
            "actor_seed": ACTOR_SEED.hex(),
            "actor": format_logline(ACTOR),
            "array": signed_array(draft).hex(),
            "message": signing_message(tenant, draft).hex(),
            "signature": draft.actor_signature.hex(),
            "request": dumps(request).hex(),
        },
        "idem": [
            {"tenant": tenant.hex(), "principal": who.hex(), "key": key, "idem": idem_key(tenant, who, key).hex()}
            for who in (KEYS.logline, ACTOR)
            for key in ("k", "ключ", f"{IDEMPOTENCY_KEY}\n12")
        ],
        "refused": refused.drafts(request),
    }


def _describe_line(line: str) -> dict[str, Any]:
    draft, key = parse_json_draft(line.encode())
    return {
        "line": line,
        "array": signed_array(draft).hex(),
        "idempotency_key": key,
        "annotations": annotations_of(draft.origin).hex(),
    }


def make_clocks() -> dict[str, Any]:
    last = hlc_from_ms(NOW_MS)
    ticks = [(0, 0), (0, NOW_MS), (last, NOW_MS), (last, NOW_MS - 1), (last, NOW_MS + 1), (last | 0xFFFF, NOW_MS)]
    edge = hlc_from_ms(NOW_MS + CLOCK_AHEAD_MS_MAX)
    ahead = [edge, edge | 0xFFFF, edge + 0x10000, 0, HLC_MAX]
    heads = {FeedId(chance(f"feed {n}", 16)): (n, chance(f"root {n}", 32)) for n in (300, 1, 2**40)}
    shown = [{"feed": feed.hex(), "size": size, "root": root.hex()} for feed, (size, root) in heads.items()]
    return {
        "about": "Hybrid logical clocks and state hashes. Integers need 64 bits.",
        "ticks": [{"last": before, "now_ms": now, "next": tick(before, now)} for before, now in ticks],
        "ahead": [{"hlc": hlc, "now_ms": NOW_MS, "is_ahead": is_ahead(hlc, NOW_MS)} for hlc in ahead],
        "states": [
            {"feeds": [], "state": state_hash(Clock()).hex()},
            {"feeds": shown, "state": state_hash(Clock(heads)).hex()},
        ],
    }


def make_tree() -> dict[str, Any]:
    leaves = [leaf_hash(number.to_bytes(8, "big")) for number in range(TILED_SIZE)]
    nodes = NodesOf(leaves)
    growth = grow(EMPTY, leaves)
    paths = [(0, 1), (0, 2), (2, 3), (4, 7), (6, 7), (255, 256), (256, 257), (100, 600), (599, 600)]
    steps = [(0, 5), (1, 2), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (7, 7), (256, 600), (257, 600)]
    return {
        "about": "RFC 6962 trees whose leaf n has as data n in 8 bytes, big-endian. A tile holds the hashes of tree "
        "level 8 * level, 256 a tile; the last one of a level is cut where the tree ends.",
        "roots": [{"size": size, "root": root_at(leaves[:size]).hex()} for size in (*TREE_SIZES, TILED_SIZE)],
        "inclusion": [
            {"index": index, "size": size, "proof": [step.hex() for step in inclusion_proof(index, size, nodes)]}
            for index, size in paths
        ],
        "consistency": [
            {"first": first, "second": second, "proof": [s.hex() for s in consistency_proof(first, second, nodes)]}
            for first, second in steps
        ],
        "tiles": [
            {
                "size": TILED_SIZE,
                "level": level // TILE_LEVELS,
                "tile": len(hashes) // TILE_WIDTH,
                "hashes": [node.hex() for node in hashes[len(hashes) - len(hashes) % TILE_WIDTH :]],
            }
            for level, hashes in growth.nodes.items()
        ],
        "refused": refused.tree_proofs(leaves[:8]),
    }


def make_notes() -> dict[str, Any]:
    feed = build_history().feeds[0]
    return {
        "about": "Signed notes, verifier keys and proofs that are refused, and the example of C2SP signed-note. "
        "The good ones are in feeds.json.",
        "accepted": [refused_notes.C2SP_EXAMPLE],
        "vkeys": {"refused": refused_notes.vkeys()},
        "checkpoints": {"refused": refused_notes.checkpoints(feed)},
        "proofs": {"refused": refused_notes.proofs(feed)},
    }


FILES: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "announcements.json": make_announcements,
    "backups.json": make_backups,
    "bundles.json": make_bundles,
    "clocks.json": make_clocks,
    "controls.json": make_controls,
    "drafts.json": make_drafts,
    "epochs.json": make_epochs,
    "feeds.json": lambda: describe_history(build_history()),
    "forks.json": make_forks,
    "ids.json": make_ids,
    "invites.json": make_invites,
    "keyfiles.json": make_keyfiles,
    "keys.json": make_keys,
    "merges.json": make_merges,
    "messages.json": make_messages,
    "memberships.json": make_memberships,
    "news.json": make_news,
    "states.json": make_states,
    "notes.json": make_notes,
    "records.json": make_records,
    "restored.json": make_restored,
    "rules.json": make_rules,
    "tenants.json": make_tenants,
    "tree.json": make_tree,
    "values.json": make_values,
}


def render(name: str) -> bytes:
    """The bytes of a file."""
    return (json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n").encode()


def main() -> None:
    for name in FILES:
        (FOLDER / name).write_bytes(render(name))


if __name__ == "__main__":
    main()
