"""What forgers make of a bundle is refused, and by which check of the reader.

Of each check a reader without it is shown to let through what that check is there for, and nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from lognode.core.errors import CallerError
from lognode.core.span import (
    PUBLIC,
    entry_bytes,
    leaf_hash,
)
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.proof.bundle import reader
from lognode.timeline.proof.bundle.items import FeedItem, SpanItem
from lognode.timeline.proof.bundle.reader import BundleReader, verify_bundle
from lognode.timeline.proof.bundle.seal import seal_text
from lognode.timeline.proof.checkpoint import parse_note, sign_checkpoint
from tests.timeline.bundle_forgeries import FORGERIES, STRANGER, Items, node_key, span_bytes
from tests.timeline.bundles import KEYS, bundle_of, items_of, joined, with_whole_paths
from tests.timeline.histories import write_history


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Items:
    """The items of a bundle of two feeds, each with its whole path."""
    raw = bundle_of(write_history(tmp_path_factory.mktemp("history"), 40), has_private=True)
    assert len(verify_bundle([raw]).feeds) == 2
    return with_whole_paths(items_of(raw))


def passes(*_: Any) -> None:
    """A check that is left out."""


def only_the_hash(note: bytes, _key: bytes, tenant: Any, _feed: Any, items: int, digest: bytes) -> None:
    if parse_note(note).text != seal_text(tenant, items, digest):
        raise CallerError("bundle.invalid", "seal: it is of other bytes than these")


def any_feed(bundle: BundleReader, number: int, _seq: int) -> Any:
    return bundle._feeds[number]


BROKEN: Final[Mapping[str, list[tuple[object, str, object]]]] = {
    "no seal": [(reader, "check_seal", passes)],
    "only the hash of the seal": [(reader, "check_seal", only_the_hash)],
    "no proofs": [(reader, "verify_inclusion", lambda *_: True)],
    "no bodies": [(reader, "_check_body", passes)],
    "no order": [(BundleReader, "_feed", any_feed), (BundleReader, "_place", passes)],
    "no binding": [(reader, "check_feed_open", passes)],
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_forgery_is_refused(honest: Items, forgery: Callable[[Items], bytes]) -> None:
    with pytest.raises(CallerError) as caught:
        verify_bundle([forgery(honest)])
    assert caught.value.code == "bundle.invalid"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_reader_without_a_check_lets_through_what_it_is_for(
    honest: Items, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, name, instead in BROKEN[broken]:
        monkeypatch.setattr(where, name, instead)
    missed = set()
    for forgery in FORGERIES:
        try:
            verify_bundle([forgery(honest)])
        except CallerError:
            continue
        missed.add(forgery)

    assert missed == {forgery for forgery, readers in FORGERIES.items() if broken in readers}


def test_the_honest_bundle_passes_also_when_it_is_put_together_again(honest: Items) -> None:
    verdict = verify_bundle([joined(honest, node_key(honest))])
    assert verdict.spans == len([item for item in honest if type(item) is SpanItem])


def test_a_strangers_own_bundle_holds_but_names_the_stranger(honest: Items) -> None:
    """What a stranger may do with keys of their own: it is no forgery, so one has to ask who signed."""
    head = honest[0]
    feed = feed_id(head.tenant, STRANGER.public, bytes(16))
    log_key = STRANGER.log_key(feed)
    header, body = span_bytes("feed.open", feed_open_data(STRANGER, head.tenant, feed, bytes(16), [], None, "first"))
    leaf = leaf_hash(entry_bytes(feed, 0, 1, PUBLIC, header))
    note = sign_checkpoint(log_key, head.tenant, feed, 1, leaf)
    mine = FeedItem(feed, note, 1, header, body, b"")
    again = head._replace(feed=feed, node_key=STRANGER.public)
    verdict = verify_bundle([joined([again, *honest[1:-1], mine, honest[-1]], log_key)])

    assert [found.node_key for found in verdict.strangers([KEYS.public], [])] == [STRANGER.public]
    assert verdict.strangers([KEYS.public, STRANGER.public], []) == []
