"""Drafts by which people decide about state: taking a span back, resolving a conflict.

Pure. Source: docs/protocol.md, State.
"""

from collections.abc import Sequence
from typing import Final

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import HEADS_NAMED_MAX
from lognode.core.span import ORGANIZATION, PUBLIC
from lognode.timeline.agreement.subjects import RESOLVE, REVERT, Head, may_be_value

REVERTED_KINDS: Final = frozenset({RESOLVE, REVERT})


def revert_draft(target: SpanId, kind: str, visibility: int, subject: str | None, reason: str | None) -> Draft:
    """The draft that takes a span back, as visible as that. Raises CallerError("revert.refused")."""
    if kind not in REVERTED_KINDS and not may_be_value(kind):
        raise CallerError("revert.refused", f"{kind} is written by nodes, and its effect is not undone by a revert")
    return Draft(kind=REVERT, title=reason, subject=subject, visibility=visibility, caused_by=target)


def resolve_draft(subject: str, heads: Sequence[Head], chosen: SpanId, visibilities: Sequence[int]) -> Draft:
    """The draft by which one of a conflict's heads holds, public where all of them are.

    `chosen` is the id of a head, or of the span that it stands for. Raises CallerError conflict.none or
    conflict.unknown_head.
    """
    if len(heads) < 2:
        raise CallerError("conflict.none", "no two spans about it contradict each other")
    found = [head for head in heads if chosen in (head.span.id, head.means.id)]
    if not found:
        raise CallerError("conflict.unknown_head", f"{b32encode(chosen)} is none of the {len(heads)} heads")
    over = [b32encode(head.span.id) for head in heads if head not in found][:HEADS_NAMED_MAX]
    return Draft(
        kind=RESOLVE,
        data=encode({"chosen": b32encode(found[0].means.id), "over": over}),
        subject=subject,
        visibility=PUBLIC if all(each == PUBLIC for each in visibilities) else ORGANIZATION,
        caused_by=found[0].means.id,
    )
