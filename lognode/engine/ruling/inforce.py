"""Which rule sets are in force: of each name the last publication that counts.

Pure. Knows no rules: whoever asks says which publications are sound. Invariants: the answer is a function of the
publications in a past and of what makes them sound, whatever their order; what lies outside of a past changes nothing.
Source: docs/protocol.md, Rule spans.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from lognode.core.access import Level
from lognode.core.limits import RULE_SETS_BYTES_MAX, RULE_SETS_MAX
from lognode.timeline.agreement.rules.publications import Publication
from lognode.timeline.members import Membership

Past = Mapping[int, int]  # local number of a feed -> how many of its entries, from the first on
Signature = tuple[int, ...]
NOT_ROOT: Final = "member.not_root"
TOO_MANY: Final = "rule.too_many"


class Publications:
    """The publications of a tenant, ordered so that any past is looked at quickly."""

    def __init__(self, publications: Iterable[Publication]) -> None:
        self.newest: Sequence[Publication] = sorted(publications, key=lambda one: one.id, reverse=True)
        seqs: defaultdict[int, list[int]] = defaultdict(list)
        for publication in self.newest:
            seqs[publication.feed].append(publication.seq)
        self._seqs = {feed: sorted(held) for feed, held in sorted(seqs.items())}

    def signature(self, past: Past) -> Signature:
        """What of them is in a past, as how many of each feed: equal ones have equal answers."""
        return tuple(bisect_left(seqs, past.get(feed, 0)) for feed, seqs in self._seqs.items())

    def within(self, past: Past) -> Iterable[Publication]:
        """Those in a past, the newest first."""
        return (one for one in self.newest if one.seq < past.get(one.feed, 0))


def last_words(newest: Iterable[Publication], is_sound: Callable[[Publication], bool]) -> dict[str, Publication]:
    """Of each name the first publication that is sound, also where it disables; they come the newest first."""
    found: dict[str, Publication] = {}
    for publication in newest:
        if publication.name not in found and is_sound(publication):
            found[publication.name] = publication
    return found


def in_force(words: Mapping[str, Publication]) -> dict[str, Publication]:
    """What has effect of the last words on each name: what does not disable, by name, as far as there is room.

    There is room for RULE_SETS_MAX sets of RULE_SETS_BYTES_MAX together. What has none is passed over.
    """
    found: dict[str, Publication] = {}
    room = RULE_SETS_BYTES_MAX
    for name, publication in sorted(words.items()):
        if publication.hash is not None and publication.size <= room and len(found) < RULE_SETS_MAX:
            found[name] = publication
            room -= publication.size
    return found


def fault_of_span(publication: Publication, members: Membership) -> str | None:
    """Why a publication is void, whatever its text: it lies beyond a cut, or its author might not; None if neither."""
    cut = members.cuts.get(publication.feed_id)
    if cut is not None and publication.seq >= cut.size:
        return cut.reason
    level = members.level_at(publication.node_key, publication.after)
    return None if level == Level.ROOT else NOT_ROOT
