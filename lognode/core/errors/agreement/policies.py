"""Errors of policies: which witnesses have to have signed."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "policy.malformed",
        "caller",
        400,
        False,
        "Malformed policy",
        "'lognode member policy' writes one to begin with; its form is that of c2sp.org/tlog-policy.",
    ),
    (
        "policy.unmet",
        "caller",
        422,
        False,
        "Too few witnesses",
        "Get the proof again a few seconds later, or from another member: it may hold more cosignatures by then.",
    ),
)
