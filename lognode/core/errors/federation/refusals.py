"""Why a control span that this node was about to write would be void, in words, and what to do instead.

The reasons are those of `voids`, which says the same of spans that are held; one that has no row here has its words.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from lognode.core.errors.federation.voids import VOID_REASONS


class Refusal(NamedTuple):
    """A sentence without its end that says why, and a hint for whoever was about to write such a span."""

    why: str
    hint: str


_LIST: Final = "'lognode member list' shows who is what here."
_ON_ROOT: Final = "Do it on a root member of the tenant: 'lognode member list' shows them."
_NEW_INVITE: Final = "Make a new invite: 'lognode invite create'."
_IDENTITY: Final = "'lognode log --kind identity.*' shows what was said of this node's keys."
REFUSALS: Final[Mapping[str, Refusal]] = {
    "member.not_root": Refusal("this node is no root member", _ON_ROOT),
    "member.not_senior": Refusal(
        "the member did not join through this node, nor through a node that did",
        "Do it on the node that let the member in, or one above that; to remove it, every root member has a vote.",
    ),
    "member.same_level": Refusal("the member has that level already", "There is nothing to do."),
    "member.unknown": Refusal("there is no such member", _LIST),
    "member.exists": Refusal("the node is a member already", "There is nothing to do."),
    "member.too_deep": Refusal(
        "the joiner would stand too far below the founder",
        "Make the invite on a root member that joined through fewer others.",
    ),
    "member.observer": Refusal("this node only observes", "Ask a root member: 'lognode member level NODE trusted'."),
    "member.removed": Refusal("this node, or the one that it lets in, was removed before", _NEW_INVITE),
    "member.lowered": Refusal("this node was lowered to a level below trusted before", _LIST),
    "invite.exists": Refusal("there is an invite with that key", _NEW_INVITE),
    "invite.unknown": Refusal("there is no such invite", "'lognode invite list' shows them."),
    "invite.level": Refusal("the invite is for a lower level", _NEW_INVITE),
    "invite.revoked": Refusal("the invite was revoked", _NEW_INVITE),
    "invite.expired": Refusal("the invite had expired", _NEW_INVITE),
    "invite.used": Refusal("as many others as it is for have joined by the invite", _NEW_INVITE),
    "feed.unknown": Refusal("there is no such feed", "'lognode status' lists the feeds."),
    "binding.invalid": Refusal(
        "the keys that it names did not sign it", "Restore node.key of the node that it is about from a backup."
    ),
    "identity.rotated": Refusal("the key that it is about was given up for another", _LIST),
    "identity.revoked": Refusal("this node was removed by its recovery key", _LIST),
    "identity.contested": Refusal("another change of the same key counts", _IDENTITY),
    "identity.replaced": Refusal("these words were given up for others", "Use the words that were declared last."),
    "identity.declared": Refusal("the recovery key in force did not agree", "Add --former FILE with its words."),
}


def refusal_of(reason: str) -> Refusal:
    """What to say of a control span that would be void for this reason."""
    if reason in REFUSALS:
        return REFUSALS[reason]
    known = VOID_REASONS.get(reason)
    return Refusal(known.title, known.hint) if known else Refusal(reason, _LIST)
