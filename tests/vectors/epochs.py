"""What a node makes of its start, and whether its next write goes on in the open feed."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lognode.timeline.agreement.continuity import (
    Continuity,
    Mark,
    ending_at_start,
    ending_once_taken,
    judge,
    look_back,
    reason_to_open,
    seal_mark,
)
from lognode.timeline.state import CLONED, DOUBT

HERE: Final = Mark("boot 1", "machine 1", 10, 20, 30)
GOES_ON, NEW, TOLD, LATE, CUT = "it goes on", "another own feed", "told of a copy", "two seconds", "cut"
VOUCHES: Final = "a member vouches"
ANEW: Final = HERE._replace(boot="boot 2")


def make_epochs() -> dict[str, Any]:
    return {
        "about": "What a node finds at its start, by the mark of its last one (null: there is none) and by how "
        "many spans were committed (null: no count) and are held. What its next write does: it goes on, "
        "waits, or opens a feed for a reason. `found` is what was found at the start, `others` how many "
        "other members there are, `ahead` whether the newest span of the open feed is more than ten "
        "minutes ahead of now, at the start and later; `events` come one after the other. A member "
        "vouches that shows that it holds no more of the feed, another one each time.",
        "starts": [
            {
                "name": name,
                "mark": before and before._asdict(),
                "now": now._asdict(),
                "counted": counted,
                "held": 5,
                "found": look_back(judge(before and seal_mark(before), now), counted, 5),
            }
            for name, before, now, counted in _starts()
        ],
        "writes": [
            {
                "name": name,
                "found": found,
                "others": others,
                "ahead": ahead,
                "events": list(events),
                "next": _next(found, others, events, ahead=ahead),
            }
            for name, found, others, ahead, events in _writes()
        ],
    }


def _starts() -> Iterator[tuple[str, Mark | None, Mark, int | None]]:
    yield "as it was", HERE, HERE, 5
    yield "the last count was not written", HERE, HERE, 4
    yield "the system was started anew", HERE, ANEW, 5
    yield "devices have other numbers since", HERE, ANEW._replace(device=11), 5
    yield "no mark", None, HERE, 5
    yield "no count", HERE, HERE, None
    yield "no mark, no count", None, HERE, None
    yield "another machine", HERE, HERE._replace(machine="machine 2"), 5
    yield "another machine, started anew", HERE, ANEW._replace(machine="machine 2"), 5
    yield "another database file", HERE, HERE._replace(database=21), 5
    yield "another database file on a system that was started anew", HERE, ANEW._replace(database=21), 5
    yield "another device", HERE, HERE._replace(device=11), 5
    yield "a key file that was changed", HERE, HERE._replace(key=31), 5
    yield "fewer spans than were committed", HERE, HERE, 6
    yield "fewer spans on a system that was started anew", HERE, ANEW, 6
    yield "fewer spans, and no mark", None, HERE, 6
    yield "another machine, no count", HERE, HERE._replace(machine="machine 2"), None


def _writes() -> Iterator[tuple[str, Continuity, int, bool, Sequence[str]]]:
    yield "nothing happened", "plain", 2, False, ()
    yield "time goes by", "plain", 2, False, (LATE,)
    yield "its feed goes on elsewhere", "plain", 2, False, (GOES_ON,)
    yield "it wrote another feed", "plain", 2, False, (NEW,)
    yield "another member hears two processes", "plain", 2, False, (TOLD,)
    yield "the feed was cut", "plain", 2, False, (CUT,)
    yield "a copy, and the feed was cut", "plain", 2, False, (CUT, GOES_ON)
    yield "ahead and alone", "plain", 0, True, ()
    yield "ahead", "plain", 1, True, ()
    yield "ahead, and the other member vouches", "plain", 1, True, (VOUCHES,)
    yield "ahead, and nobody answers", "plain", 1, True, (LATE,)
    yield "started anew, alone", "restarted", 0, False, ()
    yield "started anew, at once", "restarted", 2, False, ()
    yield "started anew, one of two vouches", "restarted", 2, False, (VOUCHES,)
    yield "started anew, both vouch", "restarted", 2, False, (VOUCHES, VOUCHES)
    yield "started anew, one of two vouches, time goes by", "restarted", 2, False, (VOUCHES, LATE)
    yield "started anew, nobody answers", "restarted", 2, False, (LATE,)
    yield "started anew, and its feed goes on elsewhere", "restarted", 2, False, (GOES_ON,)
    yield "started anew, and it wrote another feed", "restarted", 2, False, (NEW,)
    yield "both vouch, then its feed goes on elsewhere", "restarted", 2, False, (VOUCHES, VOUCHES, GOES_ON)
    yield "its feed goes on elsewhere, then both vouch", "restarted", 2, False, (GOES_ON, VOUCHES, VOUCHES)
    yield "started anew, and told of a copy", "restarted", 2, False, (TOLD,)
    yield "started anew, and cut", "restarted", 1, False, (VOUCHES, CUT)
    yield "a copy, alone", "moved", 0, False, ()
    yield "a copy", "moved", 2, False, ()
    yield "a copy, both vouch", "moved", 2, False, (VOUCHES, VOUCHES)
    yield "a copy, its feed goes on elsewhere", "moved", 2, False, (GOES_ON,)
    yield "a copy, told of it", "moved", 2, True, (TOLD,)


def _next(found: Continuity, others: int, events: Sequence[str], *, ahead: bool) -> str:
    ending = ending_at_start(None, found, has_others=others > 0, is_ahead=ahead)
    vouched = 0
    for event in events:
        vouched += event == VOUCHES
        if event in {GOES_ON, NEW}:
            ending = ending_once_taken(ending, goes_on=event == GOES_ON, has_new=event == NEW)
        elif event == TOLD and ending in {None, DOUBT}:
            ending = CLONED
        elif ending == DOUBT and vouched == others:
            ending = None
    if ending == DOUBT and LATE not in events:
        return "waits"
    return reason_to_open(ending, is_cut=CUT in events, is_ahead=ahead) or "goes on"
