"""What a copy says of the span that it restores, and whether it proves that. From docs/protocol.md, Restoring."""

from dataclasses import dataclass

from tests.independent.protocol.cbor import Refused, need, read_array, read_value, write
from tests.independent.protocol.control import CONTROL
from tests.independent.protocol.drafts import check_origin
from tests.independent.protocol.fields import INT63, as_bytes, as_int, as_list, as_text, sha256, unbase32, unbase64
from tests.independent.protocol.notes import check_checkpoint, log_key, read_checkpoint, split_note
from tests.independent.protocol.records import entry_of, read_body, read_header
from tests.independent.protocol.tree import check_inclusion, leaf_hash


@dataclass(frozen=True)
class Restored:
    id: bytes
    feed: bytes
    seq: int
    nonce: bytes
    annotations: bytes
    path: list[bytes]
    note: bytes
    root: bytes
    after: list[bytes] | None


def read_restored(annotations: bytes) -> Restored | None:
    """What annotations say of a span that is restored; None where they say nothing."""
    try:
        said = read_value(annotations)
        held = said["restored"] if isinstance(said, dict) else None
        return _restored(held) if isinstance(held, dict) else None
    except (Refused, KeyError):
        return None


def _restored(held: dict[str, object]) -> Restored:
    path = unbase64(as_text(held["path"]))
    need(len(path) % 32 == 0, "a part of a hash")
    after = [unbase32(as_text(one), 24) for one in as_list(held["after"])] if "after" in held else None
    note = as_text(held["checkpoint"]).encode()
    return Restored(
        unbase32(as_text(held["id"]), 24),
        unbase32(as_text(held["feed"]), 16),
        as_int(held["seq"], 0, INT63),
        unbase64(as_text(held["nonce"]), 16),
        unbase64(as_text(held["annotations"])),
        [path[at : at + 32] for at in range(0, len(path), 32)],
        note,
        read_checkpoint(split_note(note)[0]).root,
        after,
    )


def named_before(annotations: bytes) -> frozenset[bytes]:
    """The ids by which a restored span was known: those of an origin that says so."""
    try:
        said = read_value(annotations)
        origin = said.get("origin") if isinstance(said, dict) else None
        check_origin(origin)
    except Refused:
        return frozenset()
    assert isinstance(origin, dict)
    ids = [origin["id"], *origin.get("via", [])] if origin["as"] == "restore" else []
    return frozenset(unbase32(as_text(one), 24) for one in ids)


def check_restored(tenant: bytes, log: bytes, visibility: int, header: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Header and body of the original, which the copy proves under the log key of the original's feed."""
    restored = read_restored(read_body(body).annotations)
    need(restored, "a copy that restores nothing")
    assert restored
    elements = read_array(body, 13)
    is_control = read_header(header).kind.partition(".")[0] in CONTROL
    need(is_control == (restored.after is not None), "the names of a control span")
    if restored.after is not None:
        elements[2] = write([restored.after, *read_array(as_bytes(elements[2]))[1:]])
    elements[0], elements[10] = restored.nonce, restored.annotations
    first_body = write(elements)
    first_header = write([*read_array(header, 7)[:5], sha256(first_body), len(first_body)])
    hlc = int.from_bytes(restored.id[:8], "big")
    leaf = leaf_hash(entry_of(restored.feed, restored.seq, hlc, visibility, sha256(first_header)))
    need(leaf[:16] == restored.id[8:], "another id")
    tree = check_checkpoint(restored.note, log_key(tenant, restored.feed, log))
    check_inclusion(leaf, restored.seq, tree.size, restored.path, tree.root)
    return first_header, first_body
