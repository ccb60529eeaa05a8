"""Reasons why entries of feeds are void: in words, and what to do about it.

No errors that anybody raises: what is void is kept and passed on, and nobody's request fails by it. Several reasons
have the name of an error that tells a caller the same of what it is about to do.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class VoidReason(NamedTuple):
    """What a reason means, and a way out."""

    title: str
    hint: str


_STRANGE: Final = "Compare the version of lognode on its author's node with this one's; upgrade the older."
_LIE: Final = "An honest node writes no such span; look who has its author's key, and remove it if it goes on."
_LATE: Final = "Nothing: acts that crossed on their way end so. If it is still wanted, do it again where it is allowed."
_INVITE: Final = "Nothing here. Who came by it may ask a root member for another invite, and join again."
_ENDED: Final = "Nothing: it counts nowhere. Its author has to join, or write, anew before what it writes counts again."

VOID_REASONS: Final[Mapping[str, VoidReason]] = {
    "header.malformed": VoidReason("Header malformed, or of an unknown version", _STRANGE),
    "hlc.not_rising": VoidReason("Time not above all before it in its feed", _STRANGE),
    "visibility.unknown": VoidReason("Visibility unknown", _STRANGE),
    "body.malformed": VoidReason("Data of a control span malformed", _STRANGE),
    "control.unknown": VoidReason("Kind of control span unknown", _STRANGE),
    "binding.invalid": VoidReason("Signature of a control span not valid", _LIE),
    "feed.opened": VoidReason("Feed opened in its middle", _LIE),
    "feed.forked": VoidReason(
        "Behind the place where the feed's author signed two histories",
        "'lognode fork list' shows both. Two copies of that node are at work, or its key was stolen.",
    ),
    "fork.invalid": VoidReason("Proof of a fork that proves nothing", _LIE),
    "feed.unknown": VoidReason("Feed to be adopted not known", _LATE),
    "tenant.created": VoidReason("Tenant founded a second time", _LIE),
    "tenant.unknown": VoidReason("Written before the tenant was founded", _LIE),
    "member.not_root": VoidReason("Act of a node that was no root", _LATE),
    "member.not_senior": VoidReason(
        "Act on a node that its author may not change",
        "It counts once more than half of the roots concerned do the same; see 'lognode member list'.",
    ),
    "member.unknown": VoidReason("Author, or who it is about, no member", _LATE),
    "member.exists": VoidReason("Admission of a member", _LATE),
    "member.same_level": VoidReason("Level as it was", _LATE),
    "member.too_deep": VoidReason("Too far from the founder to be let in", "Let a root that is nearer admit it."),
    "member.observer": VoidReason("Written by an observer", "A root may make it trusted: 'lognode member level'."),
    "member.removed": VoidReason("Beyond the removal of its author", _ENDED),
    "member.lowered": VoidReason("Beyond the lowering of its author", _ENDED),
    "identity.rotated": VoidReason("Written with a key that was given up", _ENDED),
    "identity.revoked": VoidReason("Beyond the revocation of its author", _ENDED),
    "identity.contested": VoidReason("Another rotation of the key counts", _LATE),
    "identity.declared": VoidReason("Another recovery key is in force", _LATE),
    "identity.replaced": VoidReason("Signed by a recovery key that was given up for another", _LATE),
    "invite.unknown": VoidReason("Admission by no invite that counts", _INVITE),
    "invite.exists": VoidReason("Invite made twice", _LATE),
    "invite.level": VoidReason("Admission above the level of its invite", _INVITE),
    "invite.revoked": VoidReason("Admission by a revoked invite", _INVITE),
    "invite.expired": VoidReason("Admission by an expired invite", _INVITE),
    "invite.used": VoidReason("Admission by an invite that others used", _INVITE),
}
