"""Bundles that lognode makes are accepted by a checker that shares no code with it; forged and changed ones are not."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lognode.core.ids import b32encode
from lognode.timeline.proof.bundle.reader import BundleReader
from lognode.timeline.query import Query
from lognode.timeline.store.read.bundles import FeedRange
from tests.independent.bundle_checker import check
from tests.independent.tlog_proof_checker import Rejected
from tests.timeline.bundle_forgeries import FORGERIES, Items
from tests.timeline.bundles import KEYS, Place, items_of, with_whole_paths
from tests.timeline.histories import write_history

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with closing(sqlite3.connect(write_history(tmp_path_factory.mktemp("history"), 300), isolation_level=None)) as conn:
        yield Place(conn)


@pytest.mark.parametrize("has_private", [False, True])
def test_it_accepts_what_lognode_writes_and_reads_the_same_in_it(place: Place, *, has_private: bool) -> None:
    wanted = (Query(), Query(kinds=("note",)), Query(subject="nobody"), FeedRange(place.feeds[1], 10, 290))
    for what in wanted:
        raw = place.bundle(what, text="what was asked for", has_private=has_private)
        reader = BundleReader([raw])
        spans = list(reader.spans())
        accepted = check(raw, [KEYS.public])

        assert accepted.ids == [b32encode(span.id) for span in spans]
        assert (accepted.stubs, accepted.absent) == (reader.verdict.stubs, reader.verdict.absent)
        assert accepted.query == reader.verdict.head.query
        assert accepted.complete_runs() == [
            (feed.start, feed.stop) if feed.is_whole else None for feed in reader.verdict.feeds
        ]


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_it_rejects_every_forgery(place: Place, forgery: Callable[[Items], bytes]) -> None:
    with pytest.raises(Rejected):
        check(forgery(with_whole_paths(items_of(place.bundle(has_private=True)))), [KEYS.public])


def test_it_rejects_every_changed_byte_and_strangers(place: Place) -> None:
    small = place.bundle(FeedRange(place.feeds[1], 7, 10))
    rng = random.Random(43)
    check(small, [KEYS.public])
    for at in range(len(small)):
        flipped = bytearray(small)
        flipped[at] ^= rng.randrange(1, 256)
        with pytest.raises(Rejected):
            check(bytes(flipped), [KEYS.public])
    with pytest.raises(Rejected, match="not trusted"):
        check(small, [bytes(32)])


def test_it_runs_without_lognode(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "some.bundle"
    path.write_bytes(place.bundle())
    program = (
        "import sys; sys.modules['lognode'] = None\n"
        "from tests.independent.bundle_checker import main\n"
        "raise SystemExit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), KEYS.public.hex()], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.split()[:3]) == (0, [b"accepted", b"spans", b"323"])
