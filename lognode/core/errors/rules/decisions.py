"""Errors of what rules decide."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "rule.rejected",
        "caller",
        422,
        False,
        "Rejected by a rule",
        "'lognode rule show SET' has the rule that the place names; 'lognode rule test' tries a change of it.",
    ),
    (
        "rule.held",
        "caller",
        409,
        False,
        "Waits for approval",
        "Nothing is written until enough people have approved.",
    ),
    (
        "rule.not_ready",
        "node",
        503,
        True,
        "Rules are being made ready",
        "Send again after Retry-After seconds: the node still reads the history that a window of a rule counts.",
    ),
    (
        "rule.trials_busy",
        "node",
        503,
        True,
        "As many rule sets are on trial as may be",
        "Send again after Retry-After seconds: others try rule sets on what is stored, which takes long.",
    ),
    (
        "rule.unclear",
        "caller",
        409,
        False,
        "Not enough is held to tell",
        "Ask a node that holds the span's body; 'lognode show' says whether this one does.",
    ),
)
