"""What a node names as the newest control spans that it knows."""

from hashlib import sha256

from lognode.core.codec import encode
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import AFTER_MAX
from lognode.engine.control.book import Book, empty_book
from lognode.timeline.members import Control
from tests.timeline.members.nodes import World, joined


def book_of(world: World) -> Book:
    return empty_book(world.tenant).extended({}, world.spans.values())


def test_of_a_feed_its_last_control_span_is_named() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    for number in range(5):
        a.known = {}  # so that none names the one before
        a.invite(f"ticket {number}")
    newest = {span.feed: span.id for span in sorted(world.spans.values(), key=lambda span: span.seq)}
    assert book_of(world).after(None) == sorted(newest.values())
    b.learn(world.founder, a).invite("token")
    assert book_of(world).after(b.feed) == [max(world.spans)]


def test_no_number_of_feeds_and_void_spans_takes_the_room_for_what_counts() -> None:
    """A member opens feeds without end, and writes what counts nowhere, naming nothing of what others wrote."""
    world = World()
    (a,) = joined(world, "a")
    admission = next(span for span in world.spans.values() if span.kind == "member.admit")
    for number in range(3 * AFTER_MAX):
        feed = FeedId(sha256(b"%d" % number).digest()[:16])
        for seq, kind in enumerate(("feed.open", "member.unheard_of")[: 1 + number % 2]):
            data = encode([[admission.id]]) if seq else world.spans[a.newest()[0]].data
            id_ = SpanId((admission.hlc + number).to_bytes(8, "big") + feed[:15] + bytes([seq]))
            world.spans[id_] = Control(id_, feed, seq, admission.hlc + number, a.keys.public, kind, data)
    invites = [world.founder.invite("ticket")]
    a.open()
    invites.append(a.invite("token"))
    after = book_of(world).after(None)
    assert len(after) == AFTER_MAX
    assert {span.id for span in invites} <= set(after)
    assert after == sorted(after)
    assert len(book_of(world).extended({}, [world.founder.revoke_invite("ticket")]).after(None)) <= AFTER_MAX
