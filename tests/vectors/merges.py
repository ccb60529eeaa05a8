"""Merges and their cosignatures, policies and what they make of checkpoints; and those that must be refused."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lognode.core.codec import encode
from lognode.core.ids import FeedId
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.agreement.merges import Merged, merge_data
from lognode.timeline.proof.checkpoint import head_text, origin, parse_note, sign_checkpoint, typed_vkey, vkey
from lognode.timeline.proof.cosignature import Cosignature, cosign, cosignature_line, witness_name, witness_vkey
from lognode.timeline.proof.policy import parse_policy
from tests.vectors.history import chance
from tests.vectors.refused import TENANT

TIME_S: Final = 1_760_000_000
WITNESSES: Final = [NodeKeys.from_seed(chance(f"witness {number}", 32)) for number in range(3)]
FEEDS: Final = sorted(FeedId(chance(f"merged {number}", 16)) for number in range(3))
LOG: Final = KeyPair(chance("log of a merged feed", 32))
SIZES: Final = (1, 300, 2**63 - 1)
NAMES: Final = ("one", "two", "three")


def make_merges() -> dict[str, Any]:
    return {
        "about": "Data of timeline.merge with what it names and the text that each cosignature signs; data of others, "
        "which says nothing. Checkpoints with cosignatures, and who has signed them by a policy; files that are no "
        "policy, with the number of the line that is wrong.",
        "tenant": TENANT.hex(),
        "merges": [_describe(WITNESSES[0], FEEDS), _describe(WITNESSES[1], FEEDS[1:2])],
        "refused": [
            {"name": name, "hex": encode(items).hex(), "code": "body.malformed"} for name, items in _no_merges()
        ],
        "policies": [_judge(name, lines, cosigners) for name, lines, cosigners in _policies()],
        "refused_policies": [
            {"name": name, "text": "\n".join([*_keys(), *lines, ""]), "line": line, "code": "policy.malformed"}
            for name, lines, line in _no_policies()
        ],
    }


def _merged(keys: NodeKeys, feeds: Sequence[FeedId]) -> list[Merged]:
    witness = keys.witness_key(TENANT)
    trees = [(feed, size, chance(f"root {size}", 32)) for feed, size in zip(feeds, SIZES, strict=False)]
    return [Merged(*tree, TIME_S, cosign(witness, TENANT, *tree, TIME_S)) for tree in trees]


def _describe(keys: NodeKeys, feeds: Sequence[FeedId]) -> dict[str, Any]:
    merged, public = _merged(keys, feeds), keys.witness_key(TENANT).public
    name = witness_name(TENANT, keys.public)
    return {
        "node_key": keys.public.hex(),
        "witness_key": public.hex(),
        "vkey": witness_vkey(name, public),
        "data": merge_data(merged).hex(),
        "items": [
            {
                "feed": item.feed.hex(),
                "size": item.size,
                "root": item.root.hex(),
                "time": item.time_s,
                "signature": item.signature.hex(),
                "checkpoint": head_text(origin(TENANT, item.feed), item.size, item.root),
                "line": cosignature_line(Cosignature(name, public, item.time_s, item.signature)).decode(),
            }
            for item in merged
        ],
    }


def _no_merges() -> Iterator[tuple[str, object]]:
    one, two = [list[Any](item) for item in _merged(WITNESSES[0], FEEDS[:2])]
    yield "no feed", []
    yield "a feed twice", [one, one]
    yield "feeds not sorted", [two, one]
    yield "an item of four", [one[:4]]
    yield "a size of 0", [[one[0], 0, *one[2:]]]
    yield "a size beyond 63 bits", [[one[0], 2**63, *one[2:]]]
    yield "a root of 31 bytes", [[*one[:2], one[2][:31], *one[3:]]]
    yield "a time before 1970", [[*one[:3], -1, one[4]]]
    yield "a time that is true", [[*one[:3], True, one[4]]]
    yield "a signature of 63 bytes", [[*one[:4], one[4][:63]]]
    yield "no array", "text"


def _note(cosigners: Sequence[int]) -> bytes:
    """A checkpoint of the first feed with the cosignatures of some witnesses."""
    size, root = SIZES[1], chance("root of a cosigned tree", 32)
    note = sign_checkpoint(LOG, TENANT, FEEDS[0], size, root)
    for at in cosigners:
        key, name = WITNESSES[at].witness_key(TENANT), witness_name(TENANT, WITNESSES[at].public)
        signature = cosign(key, TENANT, FEEDS[0], size, root, TIME_S + at)
        note += cosignature_line(Cosignature(name, key.public, TIME_S + at, signature))
    return note


def _keys() -> list[str]:
    """The lines that name the log and the witnesses."""
    lines = [f"log {vkey(origin(TENANT, FEEDS[0]), LOG.public)}"]
    for name, keys in zip(NAMES, WITNESSES, strict=True):
        key = witness_vkey(witness_name(TENANT, keys.public), keys.witness_key(TENANT).public)
        lines.append(f"witness {name} {key}")
    return lines


def _judge(name: str, lines: Sequence[str], cosigners: Sequence[int]) -> dict[str, Any]:
    text, note = "\n".join([*_keys(), *lines, ""]), _note(cosigners)
    found, is_met = parse_policy(text.encode()).judge(parse_note(note))
    times = {witness: held.time_s for witness, held in found.items()}
    return {"name": name, "text": text, "note": note.decode(), "cosigned": times, "met": is_met}


def _policies() -> Iterator[tuple[str, Sequence[str], Sequence[int]]]:
    yield "none needed, none there", ["quorum none"], ()
    yield "one witness, who cosigned", ["quorum two"], (1,)
    yield "one witness, who did not", ["quorum two"], (0, 2)
    for cosigners in ((0,), (0, 2)):
        yield f"two of three, {len(cosigners)} there", ["group most 2 one two three", "quorum most"], cosigners
    nested = ["group pair any one two", "group both all pair three", "quorum both"]
    yield "a group in a group, met", nested, (1, 2)
    yield "a group in a group, not met", nested, (0, 1)
    unknown = typed_vkey("later", b"\x06", bytes(1312))
    yield "a key of a later kind", [f"witness later {unknown} https://example.com/", "quorum later"], (0, 1, 2)
    yield "blanks and comments", ["", "\t# a remark", " quorum \t one "], (0,)


def _no_policies() -> Iterator[tuple[str, Sequence[str], int | None]]:
    yield "no quorum", [], None
    yield "two quorums", ["quorum one", "quorum none"], 6
    yield "an unknown quorum", ["quorum four"], 5
    yield "a word too few", ["quorum"], 5
    yield "another word", ["member one"], 5
    yield "a name that is taken", ["group one any two"], 5
    yield "a name that means something else", ["group none any two"], 5
    yield "a key that is taken", [_keys()[1].replace("witness one", "witness four")], 5
    yield "a key with another id", ["witness four name+00000000+BAAA"], 5
    yield "a member that comes later", ["group most any four"], 5
    yield "a member of two groups", ["group a any one", "group b any one"], 6
    yield "a member twice", ["group a all one one"], 5
    yield "more than there are", ["group a 3 one two"], 5
    yield "a number with a zero before it", ["group a 02 one two"], 5
    yield "none of some", ["group a 0 one two"], 5
    yield "a control character", ["quorum one\r"], 5
