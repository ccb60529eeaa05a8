"""Errors of publishing rule sets."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "rule.unknown",
        "caller",
        404,
        False,
        "Unknown rule set",
        "'lognode rule list' shows the rule sets of the tenant.",
    ),
    (
        "rule.unknown_version",
        "caller",
        404,
        False,
        "Unknown version of a rule set",
        "'lognode rule show NAME --versions' lists its versions; the beginning of one is enough if no other begins so.",
    ),
    (
        "rule.changed",
        "caller",
        412,
        False,
        "Another version is in force",
        "Look at it with 'lognode rule show NAME', then make the change again on top of it.",
    ),
    (
        "rule.too_many",
        "caller",
        409,
        False,
        "No room for more rule sets",
        "Disable what is not needed, or make one rule set of several; docs/operating.md has the bounds.",
    ),
    (
        "rule.other_name",
        "caller",
        422,
        False,
        "Rule set of another name",
        "A rule set counts only under the name in its text; 'lognode rule publish' takes it from there.",
    ),
    (
        "version.malformed",
        "caller",
        400,
        False,
        "Malformed version",
        "A version is 64 hexadecimal digits; as If-Match it stands in quotes, as the ETag of an answer does.",
    ),
)
