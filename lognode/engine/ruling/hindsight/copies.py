"""Spans that say that their node restored another one by them, and whether that can be shown.

Pure. Invariant: nobody gets past rules by saying so: what is not shown to be such a copy is a span like any other.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, TenantId
from lognode.core.limits import BODY_BYTES_MAX, ORIGIN_BYTES_MAX
from lognode.core.span import decode_body
from lognode.timeline.agreement.restoring import check_restored, read_restored
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, Record, header_of, origin_of

State = Literal["shown", "open", "false"]


class Copy(NamedTuple):
    """What a span says to be a copy of.

    `shown`: its own node had signed that, and it has no effect. `false`: it had not, or that counts itself. `open`:
    what would show it is not here.
    """

    state: State
    original: SpanId | None


def copy_of(
    tenant: TenantId, record: Record, feed: FeedRef, feeds: Mapping[int, FeedRef], members: Membership
) -> Copy | None:
    """Of what a stored span says that it restores it; None where it says nothing of the kind.

    Raises NodeFault("database.damaged").
    """
    origin = origin_of(record)
    if origin is None or origin.way != "restore" or record.body is None:
        return None
    header, body = header_of(record), decode_body(record.body)
    restored = read_restored(body.annotations)
    if restored is None:
        # One that was large had no room for the proof once.
        return Copy("open" if len(record.body) + 2 * ORIGIN_BYTES_MAX > BODY_BYTES_MAX else "false", None)
    held = next((one for one in list(feeds.values()) if one.feed_id == restored.feed), None)
    if held is None or held.tenant != feed.tenant:
        return Copy("open", restored.id)
    if held.node_key != feed.node_key:
        return Copy("false", restored.id)
    try:
        check_restored(tenant, restored, header, body, record.visibility, held.log_key)
    except CallerError:
        return Copy("false", restored.id)
    cut = members.cuts.get(restored.feed)
    if cut is None or restored.seq < cut.size:
        # What was cut may count again, so whoever restored it then need not have lied.
        return Copy("open", restored.id)
    return Copy("shown", restored.id)


def restores(copy: Copy | None) -> SpanId | None:
    """The span whose place a span takes; None where that is not shown."""
    return copy.original if copy is not None and copy.state == "shown" else None
