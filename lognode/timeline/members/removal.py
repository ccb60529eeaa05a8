"""Rules of levels, removals and adopted feeds: who may change whom.

Each rule gives the reason why an act is void, or None when it counts and what it does is entered.
Source: docs/protocol.md, Membership.
"""

from lognode.timeline.members.cuts import OTHERS_TURN, Adoption
from lognode.timeline.members.history import Act
from lognode.timeline.members.ruling import Ruling
from lognode.timeline.members.standing import depth


def change_level(ruling: Ruling, act: Act) -> str | None:
    """Another level, by a senior root; anybody may lower itself. A lower one ends the feeds."""
    change, standing = act.data, ruling.standing
    level = standing.level(change.node_key, act.past)
    if level is None or level == change.level:
        return "member.unknown" if level is None else "member.same_level"
    is_lower = change.level < level
    if not (is_lower and act.control.author == change.node_key):
        reason = _refuse_junior(ruling, act, change.node_key)
        if reason:
            return reason
    if is_lower:
        ruling.add_cutter(act, change.node_key, "member.lowered")
    standing.change(act, change.node_key, change.level)
    return None


def remove(ruling: Ruling, act: Act) -> str | None:
    """A removal, by a senior root or by the member itself. One by another root is a vote."""
    target = act.data.node_key
    if not ruling.standing.grants(target, act.past):
        return "member.unknown"
    if act.control.author != target:
        reason = _refuse_junior(ruling, act, target)
        if reason == "member.not_senior":
            ruling.votes[target].append(act)
        if reason:
            return reason
    ruling.add_cutter(act, target, "member.removed")
    ruling.standing.end(act, target)
    return None


def adopt(ruling: Ruling, act: Act) -> str | None:
    """More of a cut feed, by a root senior to its author."""
    feed, author = act.data.feed, act.control.author
    opening = ruling.history.feeds.get(feed)
    if opening is None:
        return "feed.unknown"
    reason = _refuse_junior(ruling, act, opening.author)
    if not reason:
        rank = (depth(ruling.standing.grants(author, act.past)), OTHERS_TURN)
        ruling.adoptions[act.number] = Adoption(act, feed, act.data.size, rank)
    return reason


def _refuse_junior(ruling: Ruling, act: Act, target: bytes) -> str | None:
    if not ruling.is_root(act):
        return "member.not_root"
    is_senior = ruling.standing.is_senior(act.control.author, target, act.past)
    return None if is_senior else "member.not_senior"
