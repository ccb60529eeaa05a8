"""Spans that name one as their cause, as far as they tell what rules did about it.

Pure. Copies by which a node restores what it had written are passed over where that is held: they tell nothing new.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, NamedTuple

from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import FOLLOWERS_LOOKED_MAX
from lognode.core.span import Header, decode_body
from lognode.engine.ruling.hindsight.comparing import Deviation, Told
from lognode.engine.ruling.hindsight.drafts import same_content
from lognode.rules.document import Emit
from lognode.rules.evaluation.decision import Decision, Scheduled
from lognode.rules.records import FIRED, is_firing, parse_fired
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.record import FeedRef, Record, body_of, feed_of, header_of, id_of

On = Literal["draft", "commit"]
# The span whose place a stored one takes, None where it takes none.
Restores = Callable[[Record, FeedRef], SpanId | None]
_NOBODY: Final = Told((), ())


class _Emitted(NamedTuple):
    """A span that says that a rule emitted it."""

    record: Record
    header: Header
    raw: bytes
    id: str
    by: tuple[str, str]
    idem: bytes | None


class Followers:
    """What followed from one span, by node."""

    def __init__(self, feeds: Mapping[int, FeedRef], records: Sequence[Record], restores: Restores) -> None:
        self.are_cut = len(records) >= FOLLOWERS_LOOKED_MAX
        self.are_unread = False
        self.are_twice = False  # whether a node told the same in two of its feeds
        self._told: defaultdict[tuple[bytes, On], Told] = defaultdict(lambda: _NOBODY)
        self._emitted: defaultdict[bytes, list[_Emitted]] = defaultdict(list)
        self._places: dict[tuple[bytes, bytes], int] = {}  # of firings by node and data: the feed
        held = {id_of(record, feed_of(record, feeds).feed_id) for record in records}
        for record in records:
            feed = feed_of(record, feeds)
            if restores(record, feed) not in held:
                self._add(record, feed)

    def told(self, node_key: bytes, on: On) -> Told:
        """The firings that a node wrote about the span, about the draft that it was or about the commit."""
        return self._told.get((node_key, on), _NOBODY)

    def emitted(self, node_key: bytes) -> Sequence[_Emitted]:
        """The spans that rules of a node emitted for it."""
        return self._emitted.get(node_key, ())

    @property
    def gating(self) -> AbstractSet[bytes]:
        """The keys of the nodes that tell of their gates."""
        return {key for key, on in self._told if on == "draft"}

    @property
    def reacting(self) -> AbstractSet[bytes]:
        """The keys of the nodes that tell of reactions."""
        return {key for key, on in self._told if on == "commit"} | self._emitted.keys()

    def _add(self, record: Record, feed: FeedRef) -> None:
        header = header_of(record)
        raw = body_of(record, header)
        if raw is None:
            self.are_unread |= header.kind == FIRED
            return
        try:
            body = decode_body(raw)
        except CallerError:
            return
        said = rules_in(body.annotations).get("by")
        if is_firing(header.kind, header.actor, header.status, 1):
            # Two processes with one key know nothing of each other until their feeds part.
            if self._places.setdefault((feed.node_key, body.data), feed.number) != feed.number:
                self.are_twice = True
            else:
                self._add_firing(feed.node_key, body.data)
        elif isinstance(said, list) and [name.__class__ for name in said] == [str, str]:
            id_ = b32encode(id_of(record, feed.feed_id))
            self._emitted[feed.node_key].append(_Emitted(record, header, raw, id_, (said[0], said[1]), body.idem))

    def _add_firing(self, node_key: bytes, data: bytes) -> None:
        try:
            fired = parse_fired(data)
        except CallerError as error:
            told = self._told[node_key, "commit"]
            self._told[node_key, "commit"] = told._replace(faults=(*told.faults, error.detail))
            return
        told = self._told[node_key, fired.on]
        self._told[node_key, fired.on] = told._replace(firings=(*told.firings, fired))


def emitted_otherwise(emitted: Sequence[_Emitted], decision: Decision | None, due: Sequence[Draft]) -> list[Deviation]:
    """How the spans that a node says its rules emitted differ from those that were due by a decision."""
    drafts = {draft.idem: draft for draft in due if draft.kind != FIRED}
    effects = decision.effects if decision is not None else ()
    later = {
        (effect.set, effect.rule)
        for effect in effects
        if isinstance(effect.deed, Scheduled) and isinstance(effect.deed.what, Emit)
    }
    found = []
    for one in emitted:
        draft, where = drafts.get(one.idem), f"span {one.id}"
        if draft is None and one.by not in later:
            found.append(Deviation(where, f"emitted by {one.by[0]}/{one.by[1]}", None))
        elif draft is not None and not same_content(draft, one.raw, one.header, one.record.visibility):
            found.append(Deviation(where, "another content", "what the rule emits"))
    return found
