"""Which rule sets are in force: of each name the last publication that counts.

Pure. Knows no rules: whoever asks says which publications are sound. Invariants: the answer is a function of the
publications in a past and of what makes them sound, whatever their order; what lies outside of a past changes nothing.
Source: docs/protocol.md, Rule spans.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.limits import (
    RULE_SETS_BYTES_MAX,
    RULE_SETS_MAX,
    RULE_TEXT_VAIN_BYTES_MIN,
    RULE_TEXTS_VAIN_BYTES_MAX,
)
from lognode.timeline.agreement.rules.publications import Publication
from lognode.timeline.members import Membership

Past = Mapping[int, int]  # local number of a feed -> how many of its entries, from the first on
Signature = tuple[int, ...]
NOT_ROOT: Final = "member.not_root"
TOO_MANY: Final = "rule.too_many"


class Publications:
    """The publications of a tenant, ordered so that any past is looked at quickly."""

    def __init__(self, publications: Iterable[Publication]) -> None:
        self._newest: defaultdict[str, list[Publication]] = defaultdict(list)
        seqs: defaultdict[int, list[int]] = defaultdict(list)
        for publication in sorted(publications, key=lambda one: one.id, reverse=True):
            self._newest[publication.name].append(publication)
            seqs[publication.feed].append(publication.seq)
        self._seqs = {feed: sorted(held) for feed, held in sorted(seqs.items())}

    def __bool__(self) -> bool:
        return bool(self._seqs)

    def signature(self, past: Past) -> Signature:
        """What of them is in a past, as how many of each feed: equal ones have equal answers."""
        return tuple(bisect_left(seqs, past.get(feed, 0)) for feed, seqs in self._seqs.items())

    def within(self, past: Past, is_void: Callable[[Publication], object]) -> Mapping[str, Iterable[Publication]]:
        """Those in a past that are not void, by name, the newest first; looked at as they are asked for."""
        return {
            name: (one for one in newest if one.seq < past.get(one.feed, 0) and not is_void(one))
            for name, newest in self._newest.items()
        }


class LastWords(NamedTuple):
    """The last words by name, and the first name whose texts were not tried any more: behind it nothing is known."""

    words: Mapping[str, Publication]
    untried: str | None = None


def last_words(named: Mapping[str, Iterable[Publication]], is_sound: Callable[[Publication], bool]) -> LastWords:
    """Of each name the first publication that disables it, or whose text is sound; they come the newest first.

    So that nobody makes others read without end: no text is tried for which there is no room in force, it is the last
    word as it is; and of texts that are tried in vain there are RULE_TEXTS_VAIN_BYTES_MAX together, each counted as
    RULE_TEXT_VAIN_BYTES_MIN at least. Where the next one might be more, trying ends, in the order of names.
    """
    words: dict[str, Publication] = {}
    room, count, vain = RULE_SETS_BYTES_MAX, RULE_SETS_MAX, RULE_TEXTS_VAIN_BYTES_MAX
    for name, publications in sorted(named.items()):
        for publication in publications:
            if publication.hash is not None and publication.size <= room and count:
                cost = max(publication.size, RULE_TEXT_VAIN_BYTES_MIN)
                if cost > vain:
                    return LastWords(words, name)
                if not is_sound(publication):
                    vain -= cost
                    continue
                room, count = room - publication.size, count - 1
            words[name] = publication
            break
    return LastWords(words)


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
