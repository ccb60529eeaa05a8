"""When a node writes a merge, and what it names, by what it holds."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from lognode.core.access import Level
from lognode.core.clock import hlc_from_ms
from lognode.core.span import ORGANIZATION, PUBLIC, Entry, decode_body, decode_header
from lognode.core.world import World
from lognode.engine.service.agreement.news import News
from lognode.engine.service.standings import Standings
from lognode.engine.service.writing.ledger import Ledger
from lognode.sim.machines.disk import Disk, DiskStore
from lognode.timeline.agreement.merges import MERGE, parse_merge
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.members import Membership
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.store.agreement.merges import rebuild_merges
from lognode.timeline.store.write import load_tenant
from tests.engine.receivers import NOW_MS, Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen, admitted

OWN: Final = keys_of(5)
MINUTE_MS: Final = 60_000
AHEAD_HLC: Final = hlc_from_ms(NOW_MS + 10 * MINUTE_MS) | 0xFFFF  # the last that is no more than ten minutes ahead


class Case:
    """What a node holds: of the founder, who admitted all but the stranger, of an author, and of itself."""

    def __init__(self, level: Level = Level.TRUSTED) -> None:
        self.founder = Founder()
        self.author = self.founder.member(2)
        self.joined = self.founder.admit(OWN, level)
        self.held: list[tuple[Pen, Sequence[int]]] = []  # pens, and the sizes at which checkpoints are held

    def own(self, number: int = 0, after: Pen | None = None, size: int | None = None) -> Pen:
        """A feed of the node itself; it goes on from another one, up to a size of that."""
        parent = None
        if after is not None:
            parent = (after.feed_id, *_tree(after, size))
        return Pen(OWN, self.founder.tenant, [self.joined], number=number, parent=parent)

    def hold(self, pen: Pen, *sizes: int) -> None:
        """Hold all of a feed, with checkpoints at its end and at these sizes."""
        self.held.append((pen, sorted({*sizes, len(pen.leaves)})))

    def settle(self, *pens: Pen) -> None:
        """Let the node have named all that these hold, and the founder holds, in a feed of its own."""
        own = self.own()
        own.merge(*sorted(pen.head for pen in (self.founder, *pens)))
        self.hold(self.founder)
        self.hold(own)


def make_news() -> dict[str, Any]:
    return {
        "about": "What nodes hold of feeds, and the feeds and sizes that the merge names which each writes then, "
        "if any. `open` is the feed that the node writes. A feed has the key of its node, whether an "
        "admission that counts let that in, how many entries count (null: all), the parent of its "
        "opening, and its entries: whether each is a merge, what it names, and its HLC, which needs 64 "
        "bits. `checkpoints` are the sizes at which the author's are held; of these the newest is named "
        "that no rule forbids.",
        "node": OWN.public.hex(),
        "cases": [_describe(name, make()) for name, make in _cases().items()],
    }


def _nothing_new() -> Case:
    case = Case()
    case.hold(case.author)
    case.settle(case.author)
    return case


def _span_came() -> Case:
    case = _nothing_new()
    case.author.write()
    case.held[0] = (case.author, [len(case.author.leaves)])
    return case


def _only_merges() -> Case:
    case = _nothing_new()
    case.author.merge(case.founder.head)
    case.held[0] = (case.author, [len(case.author.leaves)])
    return case


def _void_entry() -> Case:
    case = _nothing_new()
    case.author.add(Entry(case.author.next_hlc, ORGANIZATION, b"\x80", None))
    case.held[0] = (case.author, [len(case.author.leaves)])
    return case


def _first_feed() -> Case:
    case = Case()
    case.hold(case.founder)
    case.hold(case.author)
    return case


def _observer() -> Case:
    case = Case(Level.OBSERVER)
    case.hold(case.founder)
    case.hold(case.author)
    return case


def _ahead(*checkpoints: int, hlc: int) -> Case:
    """Two entries, and a third at some time."""
    case = _nothing_new()
    case.author.write()
    case.author.write(hlc=hlc)
    case.held[0] = (case.author, sorted({*checkpoints, len(case.author.leaves)}))
    return case


def _cut(*checkpoints: int) -> Case:
    """Three entries of an author that was removed, and of which two count."""
    case = Case()
    case.author.write()
    case.author.write()
    case.founder.remove(case.author.keys, (case.author, 2))
    case.hold(case.author, *checkpoints)
    case.settle()
    return case


def _stranger() -> Case:
    """An author whom somebody let in who might not."""
    case = _nothing_new()
    joiner, tenant = keys_of(9), case.founder.tenant
    data = admitted(joiner, case.author.keys, tenant, [case.joined], Level.TRUSTED)
    admission = case.author.write("member.admit", data, visibility=PUBLIC)
    case.held[0] = (case.author, [len(case.author.leaves)])
    pen = Pen(joiner, tenant, [admission])
    pen.write()
    case.hold(pen)
    return case


def _parent(size: int | None) -> Case:
    """The feed before named what the author wrote, in its third entry; the open one goes on from so much of it."""
    case = Case()
    before = case.own()
    before.merge(case.founder.head)
    before.merge(case.author.head)
    case.hold(case.founder)
    case.hold(case.author)
    case.hold(before)
    after = case.own(1, before, size)
    case.hold(after)
    return case


def _beside() -> Case:
    """A copy of the node named what the author wrote, in a feed that the open one does not go on from."""
    case = Case()
    case.hold(case.author)
    copy = case.own(7)
    copy.merge(case.author.head)
    case.hold(copy)
    case.settle()
    return case


def _named_less() -> Case:
    """What was named is followed by merges, and these by a span."""
    case = _only_merges()
    case.author.write()
    case.author.merge(case.founder.head)
    case.held[0] = (case.author, [len(case.author.leaves) - 1, len(case.author.leaves)])
    return case


def _cases() -> dict[str, Callable[[], Case]]:
    return {
        "all that came is named": _nothing_new,
        "a span came": _span_came,
        "nothing came but a merge": _only_merges,
        "a span came behind a merge, and a merge behind it": _named_less,
        "a void entry came": _void_entry,
        "the node has written nothing yet": _first_feed,
        "the node may not write": _observer,
        "ten minutes ahead, to the last tick": partial(_ahead, hlc=AHEAD_HLC),
        "more than ten minutes ahead": partial(_ahead, hlc=AHEAD_HLC + 1),
        "more than ten minutes ahead, with a checkpoint before": partial(_ahead, 2, hlc=AHEAD_HLC + 1),
        "more than counts": _cut,
        "more than counts, with a checkpoint where it ends": partial(_cut, 2),
        "more than counts, with a checkpoint before its end": partial(_cut, 1),
        "an author whom nobody let in": _stranger,
        "the feed before named it": partial(_parent, None),
        "the feed before named it behind what the open feed goes on from": partial(_parent, 2),
        "a copy of the node named it": _beside,
    }


def _tree(pen: Pen, size: int | None) -> tuple[int, bytes]:
    count = len(pen.leaves) if size is None else size
    return count, root_of(grow(EMPTY, pen.leaves[:count]).border)


def _describe(name: str, case: Case) -> dict[str, Any]:
    node = Receiver(case.founder.tenant, OWN.public)
    for pen, sizes in case.held:
        pen.store(node.conn, node.tenant.number, milestones=tuple(sizes), own=pen.keys is OWN)
    rebuild_merges(node.conn)
    members, state = node.book.members, load_tenant(node.conn, node.tenant)
    return {
        "name": name,
        "now_ms": NOW_MS,
        "may_write": members.level(OWN.public) >= Level.TRUSTED,
        "open": state.head.feed.feed_id.hex() if state.head else None,
        "feeds": [_feed(pen, sizes, members) for pen, sizes in case.held],
        "names": trio.run(_names, node),
    }


def _feed(pen: Pen, sizes: Sequence[int], members: Membership) -> dict[str, Any]:
    opened = parse_feed_open(decode_body(pen.entries[0].body or b"").data)
    cut = members.cuts.get(pen.feed_id)
    return {
        "feed": pen.feed_id.hex(),
        "node": pen.keys.public.hex(),
        "let_in": pen.keys.public in members.members,
        "counts": cut.size if cut else None,
        "parent": [opened.parent_feed.hex(), opened.parent_size] if opened.parent_feed else None,
        "entries": [_entry(entry) for entry in pen.entries],
        "checkpoints": list(sizes),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    if entry.body is None or decode_header(entry.header).kind != MERGE:
        return {"hlc": entry.hlc, "merge": False}
    merged = parse_merge(decode_body(entry.body).data)
    return {"hlc": entry.hlc, "merge": True, "names": [[item.feed.hex(), item.size] for item in merged]}


async def _names(node: Receiver) -> list[tuple[str, int]]:
    """What the merge names that a node writes which starts with all this."""
    world = World(lambda: NOW_MS, lambda: NOW_MS / 1000, bytes)
    store = DiskStore(Disk(node.bytes()))
    await store.refresh()
    news = News(store, Ledger(store, world, Standings(), OWN.public), world, OWN)
    merge = await news.merge(node.tenant)
    return sorted((item.feed.hex(), item.size) for item in (merge.merged if merge else ()))
