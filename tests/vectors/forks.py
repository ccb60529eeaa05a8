"""Proofs of forks: files that show one, and files that every implementation must refuse."""

from collections.abc import Iterator
from typing import Any, Final

from lognode.core.span import leaf_hash
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.proof.checkpoint import encode_base64
from lognode.timeline.proof.fork import ForkProof, Side, check_fork, fork_proof, format_fork
from tests.agreement.forgeries import entries, forked, side
from tests.vectors.history import KEYS, chance
from tests.vectors.refused import TENANT

NONCE: Final = chance("fork", 16)
FEED: Final = feed_id(TENANT, KEYS.public, NONCE)
OPENING: Final = feed_open_data(KEYS, TENANT, FEED, NONCE, [], None, "first")
LOG_KEY: Final = KEYS.log_key(FEED)


def make_forks() -> dict[str, Any]:
    return {
        "about": "Fork proofs as files, what they show, and as data of a feed.fork whose `after` is empty; and files "
        "that prove nothing. The entries are made up.",
        "forks": [{"name": name, **_describe(proof)} for name, proof in _good()],
        "refused": [
            {"name": name, "file": raw.decode(), "code": "fork.invalid"}
            for name, raw in {**_texts(), **_parts()}.items()
        ],
    }


def _describe(proof: ForkProof) -> dict[str, Any]:
    fork = check_fork(proof)
    return {
        "file": format_fork(proof).decode(),
        "data": feed_fork_data([], proof).hex(),
        "tenant": fork.tenant.hex(),
        "feed": fork.feed.hex(),
        "node_key": fork.node_key.hex(),
        "seq": fork.seq,
        "spans": [span.hex() for span in fork.spans],
        "sizes": list(fork.sizes),
        "roots": [root.hex() for root in fork.roots],
    }


def _proof(seq: int, *sizes: int) -> ForkProof:
    one, other = sizes
    return forked(LOG_KEY, TENANT, OPENING, FEED, seq, (one, other))


def _good() -> Iterator[tuple[str, ForkProof]]:
    yield "histories of one size", _proof(5, 9, 9)
    yield "histories of two sizes", _proof(6, 7, 300)
    yield "nothing in common but the opening", _proof(1, 4, 2)
    yield "at a power of two", _proof(8, 9, 16)
    yield "at the first entry", _proof(0, 3, 3)
    yield "opened twice", _opened_twice()


def _opened_twice() -> ForkProof:
    """What the holder of a node key alone can do: bind two log keys to one feed."""
    stranger, own = NodeKeys.from_seed(chance("stranger", 32)), NodeKeys.log_key
    NodeKeys.log_key = lambda self, feed: own(stranger, feed)  # type: ignore[method-assign]  # noqa: ARG005
    try:
        opening = feed_open_data(KEYS, TENANT, FEED, NONCE, [], None, "first")
    finally:
        NodeKeys.log_key = own  # type: ignore[method-assign]
    one = side(LOG_KEY, TENANT, entries(FEED, 4, 0, "one"), 0)
    other = side(stranger.log_key(FEED), TENANT, entries(FEED, 5, 0, "other"), 0)
    return fork_proof(0, (OPENING, one), (opening, other))


def _texts() -> dict[str, bytes]:
    good = format_fork(_proof(5, 7, 9))
    lines = good.split(b"\n")
    return {
        "another first line": good.replace(b"fork/v1", b"fork/v2", 1),
        "no opening": b"\n".join([lines[0], *lines[2:]]),
        "an opening in another spelling": good.replace(lines[1], lines[1] + b"=", 1),
        "no empty line between the proofs": good.replace(b"\n\nc2sp.org", b"\nc2sp.org", 1),
        "a byte behind the end": good + b"\n",
        "one proof": good[: good.rindex(b"c2sp.org")],
        "line ends of two characters": good.replace(b"\n", b"\r\n"),
        "two places": good[: good.rindex(b"index 5")] + b"index 4" + good[good.rindex(b"index 5") + 7 :],
        "a second signature line": good + b"\xe2\x80\x94 example.com/witness AAAAAAAA\n",
    }


def _parts() -> dict[str, bytes]:
    good = _proof(5, 7, 9)
    one, other = good.sides
    nonce = chance("another feed", 16)
    feed = feed_id(TENANT, KEYS.public, nonce)
    elsewhere = feed_open_data(KEYS, TENANT, feed, nonce, [], None, "first")
    later = [side(LOG_KEY, TENANT, entries(FEED, 12, 5, name), 8) for name in ("one", "other")]
    later.sort(key=lambda found: leaf_hash(found.entry))
    same = [side(LOG_KEY, TENANT, entries(FEED, size, 99, ""), 5) for size in (7, 9)]
    twice = _opened_twice()

    def changed(first: Side, second: Side) -> bytes:
        return format_fork(good._replace(sides=(first, second)))

    unsigned = one.note[: one.note.index(b"\n\n") + 2] + other.note[other.note.index(b"\n\n") + 2 :]
    return {
        "the larger leaf first": changed(other, one),
        "one side twice": changed(one, one),
        "an opening of another feed": format_fork(good._replace(openings=(elsewhere,))),
        "an opening that the node key did not sign": format_fork(
            good._replace(openings=(OPENING[:-1] + bytes([OPENING[-1] ^ 1]),))
        ),
        "the opening twice": format_fork(good._replace(openings=(OPENING, OPENING))),
        "two openings the wrong way round": format_fork(twice._replace(openings=tuple(twice.openings)[::-1])),
        "two openings, one of them left out": format_fork(twice._replace(openings=twice.openings[:1])),
        "one history of two sizes": changed(*same),
        "a later entry than the first that differs": format_fork(good._replace(seq=8, sides=(later[0], later[1]))),
        "a hash too many": changed(one._replace(path=(*one.path, bytes(32))), other),
        "a hash to the left changed": changed(one._replace(path=(*one.path[:-1], bytes(32))), other),
        "a checkpoint of the other history": changed(one._replace(note=other.note), other),
        "a signature of the other checkpoint": changed(one._replace(note=unsigned), other),
        "an entry of another feed": changed(one._replace(entry=feed + one.entry[16:]), other),
        "an opening cut short": format_fork(good).replace(encode_base64(OPENING).encode(), b"gA==", 1),
    }
