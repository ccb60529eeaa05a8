"""Looks for the place where two histories of one feed part, among what the peer gives.

A generator, as `reconcile` is. Must not know what proves anything: a step says how a range compares with what is held.
Invariant: the number of questions is bounded, whatever the peer answers; who gives nothing that is proven accuses
nobody.
Source: docs/protocol.md, Finding a fork.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Final

from lognode.core.ids import FeedId
from lognode.core.limits import BRANCH_BYTES_MAX, RANGE_SPANS_MAX, SEARCH_ASKS_MAX, SEARCH_STEP_SPANS
from lognode.core.span import Range
from lognode.protocol.serve import weight_of
from lognode.protocol.steps import Keep, Reply, Step, Take, Weigh, Weighed

Search = Generator[Step, Reply, Weighed | None]
PullFrom = Callable[[FeedId, int], Generator[Step, Reply, Sequence[Range]]]
_WALK: Final = 2 * RANGE_SPANS_MAX


def search(feed: FeedId, differs: int, pull: PullFrom) -> Search:
    """The place where they part, once its proof is kept; None where none was found.

    The histories of both are known to differ within their first `differs` entries. `pull` asks the peer for ranges of a
    feed from an entry on.
    """
    bad, good = differs, 0
    at, back = differs - 1, 1
    for _ in range(SEARCH_ASKS_MAX):
        ranges = yield from pull(feed, at)
        weighed = yield from _walk(ranges, at)
        if weighed is None or weighed.verdict == "unproven":
            return None
        if weighed.verdict == "forked":
            return (yield from _keep(ranges, weighed.seq, pull))
        if weighed.verdict == "same":
            good = weighed.seq
        elif at == 0:
            return None  # whatever its author signed begins with entry 0
        else:
            bad = at
        if good >= bad and good >= differs:
            return None  # it goes on from what is held
        if good:
            at = (good + bad) // 2 if bad - good > _WALK else good
        else:
            back = max(SEARCH_STEP_SPANS, 4 * back)
            at = max(0, at - back)
    return None


def hear_others(feed: FeedId, start: int, pull: PullFrom) -> Search:
    """The place where the histories of a feed part that a peer says forks at `start`, once all proofs are kept.

    The first of several. None where what the peer gives from there on is no other history than the one held.
    """
    ranges = yield from pull(feed, start)
    found: Weighed | None = None
    for at in [at for at, part in enumerate(ranges) if part.start == start]:
        history = _following(ranges[at:])
        weighed = yield from _walk(history, start)
        if weighed is not None and weighed.verdict == "forked":
            kept = yield from _kept([part for part in history if part.stop > weighed.seq])
            found = kept if kept and (found is None or kept.seq < found.seq) else found
    return found


def hear_own(feed: FeedId, start: int, pull: PullFrom) -> Generator[Step, Reply, None]:
    """Take and keep what a peer holds of a feed of this node from `start` on, where it forks, and this one has not."""
    ranges = yield from pull(feed, start)
    for at in [at for at, part in enumerate(ranges) if part.start == start]:
        history = _following(ranges[at:])
        for place, part in enumerate(history):
            weighed = yield Weigh(part)
            assert isinstance(weighed, Weighed)
            if weighed.verdict == "forked":
                yield from _keep(history[place:], weighed.seq, pull)
            if weighed.verdict != "same":
                break
            yield Take([part], ())


def _following(ranges: Sequence[Range]) -> Sequence[Range]:
    """The first of these ranges, and those that follow it one by one."""
    found = list(ranges[:1])
    for part in ranges[1:]:
        if part.start != found[-1].stop:
            break
        found.append(part)
    return found


def _kept(ranges: Sequence[Range]) -> Search:
    kept = yield Keep(ranges)
    assert isinstance(kept, Weighed)
    return kept if kept.verdict == "forked" else None


def _walk(ranges: Sequence[Range], at: int) -> Generator[Step, Reply, Weighed | None]:
    """How the last of these ranges that says something compares; None where there is none that fits."""
    found: Weighed | None = None
    for part in ranges:
        if part.start != at:
            break
        weighed = yield Weigh(part)
        assert isinstance(weighed, Weighed)
        if found is not None and weighed.verdict in {"apart", "unproven"}:
            break
        found, at = weighed, part.stop
        if weighed.verdict != "same":
            break
    return found


def _keep(ranges: Sequence[Range], seq: int, pull: PullFrom) -> Search:
    """Have the proof kept, with as much of the other history as the peer gives."""
    found = [part for part in ranges if part.stop > seq]
    size = sum(map(weight_of, found))
    for _ in range(SEARCH_ASKS_MAX):
        more = [] if size > BRANCH_BYTES_MAX else list((yield from pull(found[0].feed, found[-1].stop)))
        if not more or more[0].start != found[-1].stop:
            break
        found += more
        size += sum(map(weight_of, more))
    return (yield from _kept(found))
