"""Whether the approvals that a span names are there: signed, for that draft, by who might, as many as it took, in time.

Synchronous, for a reader's thread. Invariant: what an honest node could count then is never called missing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.clock import hlc_ms
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, parse_span_id
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import ORGANIZATION, Header, decode_body
from lognode.engine.ruling.approvals.counting import Asking, may_approve
from lognode.engine.ruling.approvals.holding import Approval, content_of
from lognode.engine.ruling.hindsight.comparing import Deviation
from lognode.engine.service.ruling.past import Ground
from lognode.rules.records import APPROVE, Held, is_firing, parse_fired
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, Record, body_of, feed_of, header_of
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.rules.levels import level_named
from lognode.timeline.store.rules.pasts import named_past

_WHERE: Final = "annotations.rules.approval"


class Written(NamedTuple):
    """A span that names approvals, and the draft that it was."""

    record: Record
    feed: FeedRef
    draft: Draft
    approval: Approval


def missing_approvals(ground: Ground, members: Membership, written: Written) -> list[Deviation]:
    """What is wrong with what a span says of its approvals. Raises NodeFault("database.damaged")."""
    approval = written.approval
    found = _named_span(ground, approval.of)
    held = _held(ground.feeds, *found, written) if found else None
    if held is None:
        return [Deviation(f"{_WHERE}.of", approval.of, "a firing of its node that tells that this draft waits")]
    faults = []
    if hlc_ms(written.record.hlc) - CLOCK_AHEAD_MS_MAX >= held.until_ms:
        faults.append(Deviation(f"{_WHERE}.of", hlc_ms(written.record.hlc), f"before {held.until_ms}"))
    if any(role != held.role for role in approval.roles):
        faults.append(Deviation(f"{_WHERE}.roles", list(approval.roles), held.role))
    asking, nodes = Asking(written.feed.node_key, held.role, held.of), set[bytes]()
    for span in approval.by:
        one = _named_span(ground, span)
        feed = feed_of(one[0], ground.feeds) if one else None
        if one is None or feed is None or not _counts(ground, members, asking, one, parse_span_id(approval.of)):
            faults.append(Deviation(f"{_WHERE}.by", span, f"an approval by who has the role {held.role}"))
        else:
            nodes.add(feed.node_key)
    if not faults and len(nodes) < held.of:
        faults.append(Deviation(f"{_WHERE}.by", [len(nodes), *approval.by], f"approvals of {held.of} nodes"))
    return faults


def _named_span(ground: Ground, text: str) -> tuple[Record, Header] | None:
    """A span of what the node had named; None where there is none."""
    try:
        record = find_span(ground.conn, ground.tenant, ground.feeds, parse_span_id(text))
    except CallerError:
        return None
    if record is None or record.seq >= ground.named.get(record.feed, 0):
        return None
    return record, header_of(record)


def _held(feeds: Mapping[int, FeedRef], record: Record, header: Header, written: Written) -> Held | None:
    """What a firing tells of the draft that the span was, as waiting; None where it tells of another, or of none."""
    raw = body_of(record, header)
    is_told = is_firing(header.kind, header.actor, header.status, record.visibility or ORGANIZATION)
    if raw is None or not is_told or feed_of(record, feeds).node_key != written.feed.node_key:
        return None
    try:
        held = parse_fired(decode_body(raw).data).held
    except CallerError:
        return None
    return held if held is not None and held.signed == content_of(written.draft) else None


def _counts(ground: Ground, members: Membership, asking: Asking, found: tuple[Record, Header], firing: SpanId) -> bool:
    """Whether a span approves, and its node had the role by what is known now, or was when it was counted."""
    record, header = found
    if (header.kind, header.caused_by, header.actor) != (APPROVE, firing, None):
        return False
    key = feed_of(record, ground.feeds).node_key
    own = named_past(ground.conn, ground.feeds, record.feed, record.seq)
    levels = {members.level(key)} | {
        level_named(ground.conn, ground.tenant, ground.feeds, members, key, named) for named in (own, ground.named)
    }
    if members.voids:
        levels.add(Level.ROOT)  # an act that made it root may not count any more
    return any(may_approve(asking, key, level) for level in levels)
