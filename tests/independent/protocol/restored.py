"""Builds the span again that a copy restores, and checks its proof. From docs/protocol.md, Restoring."""

from tests.independent.protocol.cbor import need, read_array, read_value, write
from tests.independent.protocol.fields import as_int, as_list, as_text, sha256, unbase32, unbase64
from tests.independent.protocol.notes import check_checkpoint, log_key
from tests.independent.protocol.records import entry_of, read_body, read_header
from tests.independent.protocol.tree import check_inclusion, leaf_hash


def check_restored(tenant: bytes, log: bytes, visibility: int, header: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Header and body of the original of a copy, proven by the log key of its feed."""
    read_header(header)
    said = read_value(read_body(body).annotations)
    need(isinstance(said, dict) and isinstance(said.get("restored"), dict), "nothing that is restored")
    assert isinstance(said, dict)
    restored: dict[str, object] = said["restored"]
    elements = read_array(body, 13)
    if "after" in restored:
        after = [unbase32(as_text(one), 24) for one in as_list(restored["after"])]
        data = elements[2]
        assert isinstance(data, bytes)
        elements[2] = write([after, *read_array(data)[1:]])
    elements[0], elements[10] = (unbase64(as_text(restored[name])) for name in ("nonce", "annotations"))
    original = write(elements)
    head = write([*read_array(header, 7)[:5], sha256(original), len(original)])
    id_, feed, seq = unbase32(as_text(restored["id"]), 24), unbase32(as_text(restored["feed"]), 16), restored["seq"]
    leaf = leaf_hash(entry_of(feed, as_int(seq), int.from_bytes(id_[:8], "big"), visibility, sha256(head)))
    need(id_[8:] == leaf[:16], "another span")
    tree = check_checkpoint(as_text(restored["checkpoint"]).encode(), log_key(tenant, feed, log))
    path = unbase64(as_text(restored["path"]))
    hashes = [path[at : at + 32] for at in range(0, len(path), 32)]
    check_inclusion(leaf, as_int(seq), tree.size, hashes, tree.root)
    return head, original
