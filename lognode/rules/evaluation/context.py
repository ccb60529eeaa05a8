"""What a rule may ask about the past of a span, whoever keeps it.

Invariant: answers are functions of the span's causal past, so that any node that holds it gets the same.
"""

from typing import Protocol

from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Last, Window
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.samples import Sample


class OverBudget(Unclear):
    """There is more to look at than a rule may ask for."""


class Context(Protocol):
    """The causal past of the span that is judged. Asked for what rules read, once for each window and subject."""

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over the samples of this window with the key of `sample`, at (sample.at_ms - over, sample.at_ms].

        The span that is judged is not among them: whoever evaluates adds it. So `distinct` counts the values that are
        not `sample.value`, all of them where that is None. A sum is exact (math.fsum of all values), since the order of
        samples is nobody's.
        Raises OverBudget where there are too many to look at: the rule that asked fails alone.
        """

    def last(self, last: Last, subject: str) -> Facts | None:
        """The newest span of these kinds with this subject, None where there is none. Raises OverBudget likewise."""
