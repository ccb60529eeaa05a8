"""Plans one commit of what another node sent: ranges of feeds, and control spans ahead of theirs.

Pure. Each range is taken whole or not at all, and one that is refused changes nothing for the others. Invariants: a
feed grows at its end alone, over what its author signed; nobody's feed is taken whom nobody let in; what is void
is written in the commit that makes it so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lognode.core.clock import hlc_from_ms
from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import PRIVATE, Entry, Foretold, Range, decode_header, is_control, span_id
from lognode.engine.agreement.folding import fold_rows
from lognode.engine.commit import fold_tiles
from lognode.engine.control.book import Book
from lognode.engine.ingest.branches import proofs_in
from lognode.engine.ingest.proof import (
    Proven,
    opened_feed,
    prove_foretold,
    prove_range,
    read_control,
    read_opening,
    verify_note,
)
from lognode.engine.ingest.rows import Shelf
from lognode.timeline.agreement.continuity import ending_once_taken
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.members import Control
from lognode.timeline.proof.fork import ForkProof, format_fork
from lognode.timeline.proof.tree import EMPTY, root_of
from lognode.timeline.record import FeedRef
from lognode.timeline.state import CLONED, FETCHED, FeedState, Numbers, TenantState, WritePlan

Outcome = int | PeerError


class Ground(NamedTuple):
    """What a batch is judged by: where the tenant stands, and what is held of the feeds that the batch names."""

    state: TenantState
    numbers: Numbers
    book: Book
    feeds: Mapping[FeedId, FeedState]
    find_feed: Callable[[FeedId], int | None]  # the number of any feed of the tenant that is held
    own_key: bytes
    now_ms: int


class IngestPlan(NamedTuple):
    """What to write, where all stands once that is committed, and what each range came to.

    Behind the outcomes of the ranges follows what else there is to tell: why control spans were refused (of one of
    them), and "clock.ahead" where a feed that grew ends ahead of now.
    """

    write: WritePlan
    state: TenantState
    numbers: Numbers
    feeds: Sequence[FeedState]  # those that grew
    book: Book
    outcomes: list[Outcome]
    news: Mapping[FeedId, Fresh]  # of feeds of others that hold more than merges now


def plan_ingest(ground: Ground, ranges: Sequence[Range], foretold: Sequence[Foretold]) -> IngestPlan:
    """One commit of what another node sent."""
    batch = _Batch(ground)
    batch.hear(foretold, ranges)
    outcomes = [batch.take(found, ranges) for found in ranges]
    return batch.finish(outcomes)


class _Batch:
    """A plan as it grows."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._tenant = ground.state.tenant
        self._heads = dict(ground.feeds)
        self._hlc_max = hlc_from_ms(ground.now_ms + CLOCK_AHEAD_MS_MAX)
        self._shelf = Shelf(ground.state, ground.numbers, self._hlc_max)
        self._authors = ground.book.authors
        self._is_widened = False
        self._told: dict[SpanId, tuple[Control, Foretold]] = {}
        self._signers: dict[FeedId, FeedRef] = {}  # of the feeds of which some are told
        self._places: dict[tuple[FeedId, int], SpanId] = {}
        self._refused: PeerError | None = None
        self._evidence: dict[FeedId, ForkProof] = {}
        self._rows: dict[str, list[Any]] = {}
        self._tiles: dict[tuple[int, int, int], bytes] = {}
        self._notes: dict[tuple[int, int], bytes] = {}
        self._dropped: list[tuple[int, int]] = []
        self._controls: dict[SpanId, tuple[Control, int]] = {}
        self._grown: dict[FeedId, FeedState] = {}
        self._first_feed = ground.numbers.feed  # new feeds have numbers from here on
        self._newest = 0
        self._news: dict[FeedId, Fresh] = {}

    def hear(self, foretold: Sequence[Foretold], ranges: Sequence[Range]) -> None:
        """Prove control spans that are not known yet. Who signs a new feed may be said by one of them or by a range."""
        openings = {found.feed: found.entries[0] for found in ranges if found.start == 0 and found.entries}
        openings.update((span.feed, span.entry) for span in foretold if span.seq == 0)
        for span in foretold:
            head = self._heads.get(span.feed)
            if (head and span.seq < head.border.size) or (span.feed, span.seq) in self._ground.book.foretold:
                continue
            if self._is_beyond_fork(span.feed, span.seq):
                self._read_proofs([span.entry])
                continue
            try:
                if span.feed not in self._signers:
                    self._signers[span.feed] = head.feed if head else self._foretold_feed(span.feed, openings)
                control = prove_foretold(self._tenant.tenant_id, self._signers[span.feed], span)
            except PeerError as error:
                self._refused = error
                continue
            if self._places.setdefault((span.feed, span.seq), control.id) == control.id:
                self._told[control.id] = (control, span)
            else:
                self._refused = PeerError("feed.forked", f"its author signed two entries {span.seq}")

    def _foretold_feed(self, feed: FeedId, openings: Mapping[FeedId, Entry]) -> FeedRef:
        """A feed of which no range is held, as its foretold opening says. Raises PeerError("control.unproven")."""
        known = self._ground.book.foretold.get((feed, 0))
        if known is not None:
            return opened_feed(self._tenant, feed, self._ground.book.controls[known].data)
        if feed not in openings:
            raise PeerError("control.unproven", "the feed.open of its feed is not known")
        return read_opening(self._tenant, feed, openings[feed])

    def take(self, found: Range, ranges: Sequence[Range]) -> Outcome:
        """The size of a feed with a range of it, or why it is refused; `ranges` are all that came with it."""
        try:
            head = self._head_of(found, self._heads)
            if found.stop <= head.border.size:
                _check_known(self._tenant.tenant_id, head, found)
                return head.border.size
            proven = prove_range(self._tenant.tenant_id, head, found)
            self._check_author(head, proven, ranges)
            return self._accept(head, proven)
        except PeerError as error:
            if error.code in {"feed.forked", "range.unproven"}:
                self._read_proofs(found.entries)
            return error

    def _read_proofs(self, entries: Iterable[Entry]) -> None:
        """Keep proofs of forks in what is not taken itself: nobody may hold them in what is."""
        forks = self._ground.book.members.forks
        for proof in proofs_in(self._tenant.tenant_id, entries):
            if proof.seq < forks.get(proof.feed, proof.seq + 1):
                self._evidence[proof.feed] = min(proof, self._evidence.get(proof.feed, proof), key=lambda one: one.seq)

    def _is_beyond_fork(self, feed: FeedId, seq: int) -> bool:
        fork = self._ground.book.members.forks.get(feed)
        return fork is not None and seq >= fork

    def _head_of(self, found: Range, heads: Mapping[FeedId, FeedState]) -> FeedState:
        """Where the feed of a range ends. Raises PeerError range.gap, range.unproven or feed.forked."""
        head = heads.get(found.feed)
        if head is None and found.start == 0 and found.entries:
            head = FeedState(read_opening(self._tenant, found.feed, found.entries[0]), EMPTY, {})
        if head is None or found.start > head.border.size:
            raise PeerError("range.gap", f"it begins at entry {found.start}")
        is_own = head.feed.node_key == self._ground.own_key  # what it forgot of its own it has others give back
        if found.stop > head.border.size and not is_own and self._is_beyond_fork(found.feed, head.border.size):
            raise PeerError("feed.forked", "nothing of it counts from here on")
        return head

    def _check_author(self, head: FeedState, proven: Proven, ranges: Sequence[Range]) -> None:
        """Pass if a node that once was admitted writes the feed. Raises PeerError feed.unadmitted, range.unproven."""
        if head.feed.node_key in self._authors:
            return
        if not self._is_widened:
            self._is_widened = True
            told = [control for control, _ in self._told.values()]
            book = self._ground.book.extended({}, [*told, *self._controls_in(ranges)])
            self._authors = book.authors
        if head.feed.node_key not in self._authors:
            list(controls_of(head, proven))  # none may be in another's place
            raise PeerError("feed.unadmitted", "no member admitted the node that writes it")

    def _controls_in(self, ranges: Sequence[Range]) -> Iterator[Control]:
        """The control spans in ranges that their feeds hold, whoever writes these."""
        heads = dict(self._ground.feeds)
        for found in ranges:
            try:
                head = self._head_of(found, heads)
                if found.stop <= head.border.size:
                    continue
                proven = prove_range(self._tenant.tenant_id, head, found)
                yield from controls_of(head, proven)
            except PeerError:
                continue
            heads[found.feed] = head._replace(border=proven.growth.border)

    def _accept(self, head: FeedState, proven: Proven) -> int:
        """Put the rows of a range into the plan; the size of its feed. Raises PeerError range.stubbed or .unproven."""
        numbers = self._shelf.numbers
        feed, is_new = head.feed, not head.border.size
        if is_new:
            feed = feed._replace(number=numbers.feed, own=feed.node_key == self._ground.own_key)
            self._shelf.numbers = numbers._replace(feed=numbers.feed + 1)
        try:
            arrival = self._shelf.place(feed, head, proven)
        except PeerError:
            self._shelf.numbers = numbers
            raise
        if is_new:
            head = head._replace(feed=feed)
            self._add("feeds", [feed.number, feed.tenant, feed.feed_id, feed.node_key, feed.log_key, int(feed.own)])
            if feed.own:
                self._add("endings", [feed.feed_id, FETCHED])
        for table, values in arrival.tables.items():
            self._add(table, values)
        tiles, tile_rows = fold_tiles(head, proven.growth.nodes)
        self._tiles.update(((number, level, tile), hashes) for number, level, tile, hashes in tile_rows)
        later = head.extended(proven.growth.border, tiles, arrival.hlc, arrival.weight)
        self._dropped += head.dropped(later)
        self._notes[feed.number, later.border.size] = proven.note
        self._controls.update(arrival.controls)
        self._newest = max(self._newest, arrival.newest)
        if arrival.merges < len(proven.entries) and feed.node_key != self._ground.own_key:
            self._news[feed.feed_id] = Fresh(later.border.size, root_of(later.border), later.hlc, proven.note)
        self._heads[feed.feed_id] = self._grown[feed.feed_id] = later
        return later.border.size

    def _add(self, table: str, values: list[Any]) -> None:
        """Put rows into the plan; they are its own from now on."""
        if table in self._rows:
            self._rows[table] += values
        elif values:
            self._rows[table] = values

    def finish(self, outcomes: list[Outcome]) -> IngestPlan:
        """The plan, with what its control spans make void."""
        ground, number = self._ground, self._tenant.number
        known = ground.book.without(self._foretold_in_vain())
        book = known.extended(self._controls, [control for control, _ in self._told.values()])
        kept = {
            span_id: (control, span)
            for span_id, (control, span) in self._told.items()
            if control.author in book.authors and span.seq >= self._size(span.feed) and self._is_opened(span.feed)
        }
        if len(kept) < len(self._told):
            self._refuse_told(book)
            book = known.extended(self._controls, [control for control, _ in kept.values()])
        book = book.proven({feed: proof.seq for feed, proof in self._evidence.items()})
        for feed, proof in self._evidence.items():
            self._add("evidence", [number, feed, proof.seq, format_fork(proof)])
        for _, span in kept.values():
            self._add("foretold", [number, span.feed, span.seq, *span.entry, span.note, b"".join(span.path)])
        verdicts = book.verdicts(number, self._find_feed)
        is_changed = verdicts != ground.book.verdicts(number, ground.find_feed)
        notes = [(*place, note) for place, note in self._notes.items() if place not in self._dropped]
        state = self._state()
        if state.head is not None and state.ending not in {ground.state.ending, FETCHED}:
            self._add("endings", [state.head.feed.feed_id, state.ending])
        write = WritePlan(
            self._rows,
            [(*place, hashes) for place, hashes in self._tiles.items()],
            notes,
            [place for place in self._dropped if place not in self._notes],
            [(number, feed, head.border.size) for feed, head in self._grown.items()],
            [verdicts] if is_changed else [],
            fold_rows(self._rows, self._shelf.kinds),
        )
        if self._refused:
            outcomes.append(self._refused)
        if any(head.hlc > self._hlc_max for head in self._grown.values()):
            outcomes.append(PeerError("clock.ahead", "a feed holds spans more than ten minutes ahead of now"))
        if state.ending == CLONED != ground.state.ending:
            outcomes.append(PeerError("identity.cloned", "the feed that this node writes goes on elsewhere"))
        return IngestPlan(write, state, self._shelf.numbers, list(self._grown.values()), book, outcomes, self._news)

    def _foretold_in_vain(self) -> set[SpanId]:
        """Foretold control spans whose ranges are here now and show that they are void by themselves."""
        return {
            span
            for (feed, seq), span in self._ground.book.foretold.items()
            if feed in self._grown and seq < self._grown[feed].border.size and span not in self._controls
        }

    def _find_feed(self, feed: FeedId) -> int | None:
        grown = self._grown.get(feed)
        return grown.feed.number if grown else self._ground.find_feed(feed)

    def _size(self, feed: FeedId) -> int:
        head = self._heads.get(feed)
        return head.border.size if head else 0

    def _is_opened(self, feed: FeedId) -> bool:
        """Whether the key by which control spans of a feed were proven is that of its feed.open, held or foretold."""
        if (feed, 0) in self._ground.book.foretold:
            return True
        if feed in self._heads:
            return self._heads[feed].feed.log_key == self._signers[feed].log_key
        told = self._places.get((feed, 0))
        if told is None:
            return False
        opened = opened_feed(self._tenant, feed, self._told[told][0].data)
        return opened.log_key == self._signers[feed].log_key

    def _refuse_told(self, book: Book) -> None:
        """Say why control spans are not kept, unless their ranges are here."""
        for control, span in self._told.values():
            if control.author not in book.authors:
                self._refused = PeerError("feed.unadmitted", "no member admitted the node that wrote a control span")
            elif not self._is_opened(span.feed):
                self._refused = PeerError("control.unproven", "the feed.open of its feed is not known")

    def _state(self) -> TenantState:
        state, shelf = self._ground.state, self._shelf
        head, ending = state.head, state.ending
        fetched = [feed for feed in self._grown.values() if feed.feed.own and feed.feed.number >= self._first_feed]
        if head is not None:
            later = self._grown.get(head.feed.feed_id, head)
            ending = ending_once_taken(ending, goes_on=later is not head, has_new=bool(fetched))
            head = later
        if fetched and (head is None or ending == FETCHED):
            head, ending = max(fetched, key=lambda feed: feed.feed.number), FETCHED
        return state._replace(
            ending=ending,
            position=shelf.position,
            hlc=max(state.hlc, self._newest),
            head=head,
            kinds=shelf.kinds,
            actors=shelf.actors,
        )


def controls_of(head: FeedState, proven: Proven) -> Iterator[Control]:
    """The control spans among proven entries.

    Raises PeerError("range.unproven") for a body that is not its span's, and range.stubbed for a header withheld.
    """
    for seq, (entry, leaf) in enumerate(zip(proven.entries, proven.leaves, strict=True), head.border.size):
        if entry.visibility == PRIVATE:
            continue
        try:
            header = decode_header(entry.header)
        except CallerError:
            if entry.is_withheld:
                raise PeerError("range.stubbed", "the header of an entry is withheld that is not private") from None
            continue
        if is_control(header.kind):
            kind, data = read_control(entry)
            feed = head.feed
            yield Control(span_id(entry.hlc, leaf), feed.feed_id, seq, entry.hlc, feed.node_key, kind, data)


def _check_known(tenant: TenantId, head: FeedState, found: Range) -> None:
    """Pass unless a range that is held already ends where the feed does, at another root."""
    if found.stop == head.border.size and verify_note(tenant, head.feed, found.note).root != root_of(head.border):
        raise PeerError("feed.forked", f"its author signed two histories of {found.stop} entries")
