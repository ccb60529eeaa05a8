"""Which drafts of a commit pass the gate rules, and as what.

Pure. Must not know rules. Invariants: a draft is judged once, in the order of the calls, and none behind a refused one
of its call; whoever sent the same draft under the same key in another call gets the same answer.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.limits import GROUP_BYTES_MAX
from lognode.engine.commit import Chosen, Firing, Place, Repeat, Waiting


class Judged(NamedTuple):
    """What a draft came to: the draft to write, or why none is written; and the span that tells of it, if any.

    `row` keeps a draft that waits, given the id of that span: then there is neither draft nor refusal. `ending` tells,
    given the id of the draft's span, that one which waited is written.
    """

    draft: Draft | None
    refusal: CallerError | None
    firing: Draft | None
    row: Callable[[SpanId], list[Any]] | None = None
    ending: Callable[[SpanId], Draft] | None = None


# From a draft, and how many spans of the commit come before it.
Judge = Callable[[Draft, int], Judged]


class Patience(NamedTuple):
    """Until when a commit takes more drafts. Calls that are `whole`, by index, are not parted."""

    is_over: Callable[[], bool]
    whole: Collection[int] = ()


def pass_gate(chosen: Chosen, judge: Judge, patience: Patience | None = None) -> Chosen:
    """What is left of the drafts of a commit once each was judged.

    Once patience is over, or what tells of the drafts fills a commit, calls end without an error before they are at
    their end; one draft is judged in any case.
    """
    passing = _Passing(chosen.drafts, judge, patience)
    calls = [
        passing.call(index, places, error)
        for index, (places, error) in enumerate(zip(chosen.places, chosen.errors, strict=True))
    ]
    places, errors = [places for places, _ in calls], [error for _, error in calls]
    return Chosen(passing.kept, places, errors, passing.firings)


class _Passing:
    """The drafts that passed so far, and what came of each."""

    def __init__(self, drafts: Sequence[Draft], judge: Judge, patience: Patience | None) -> None:
        self.kept: list[Draft] = []
        self.firings: list[Firing] = []
        self._drafts = drafts
        self._judge = judge
        self._patience = patience
        self._told_bytes = 0
        self._outcomes: dict[int, int | Waiting | CallerError] = {}

    def call(
        self, index: int, places: Sequence[Place], error: CallerError | None
    ) -> tuple[list[Place], CallerError | None]:
        """The places of a call's drafts up to the first one that is refused, and why that is."""
        passed: list[Place] = []
        patience = self._patience
        for place in places:
            if (
                patience is not None
                and self._outcomes
                and (not passed or index not in patience.whole)
                and (self._told_bytes > GROUP_BYTES_MAX or patience.is_over())
            ):
                return passed, None
            first = place.first if isinstance(place, Repeat) else place
            if not isinstance(first, int):
                passed.append(first)
                continue
            is_known = first in self._outcomes
            outcome = self._outcomes[first] if is_known else self._decide(first)
            if isinstance(outcome, CallerError):
                return passed, outcome
            if isinstance(outcome, Waiting):
                passed.append(outcome._replace(duplicate=is_known))
            else:
                passed.append(Repeat(outcome) if is_known else outcome)
        return passed, error

    def _decide(self, index: int) -> int | Waiting | CallerError:
        """The place of a draft among those that passed, or why it is refused."""
        judged = self._judge(self._drafts[index], len(self.kept))
        outcome: int | Waiting | CallerError
        if judged.draft is not None:
            outcome = len(self.kept)
            self.kept.append(judged.draft)
        elif judged.row is not None:
            outcome = Waiting(len(self.firings))
        else:
            assert judged.refusal is not None, "who gets no span is told why"
            outcome = judged.refusal
        about = None if judged.draft is None else len(self.kept) - 1
        if judged.firing is not None:
            self._told_bytes += judged.firing.content_bytes()
            self.firings.append(Firing(about, judged.firing, row=judged.row))
        if judged.ending is not None:
            self.firings.append(Firing(about, self._drafts[index], tell=judged.ending))
        self._outcomes[index] = outcome
        return outcome
