"""Errors of proofs and records."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "header.malformed",
        "caller",
        422,
        False,
        "Malformed header",
        "The record was damaged or made by a wrong encoder.",
    ),
    ("body.malformed", "caller", 422, False, "Malformed body", "The record was damaged or made by a wrong encoder."),
    ("checkpoint.invalid", "caller", 422, False, "Checkpoint not valid", "Get it again; check whose key you use."),
    (
        "vkey.malformed",
        "caller",
        400,
        False,
        "Malformed verifier key",
        "Use the line that 'lognode id show --vkey' prints.",
    ),
    ("proof.invalid", "caller", 422, False, "Proof not valid", "Do not trust the span; get the proof again."),
    (
        "binding.invalid",
        "caller",
        422,
        False,
        "Key binding not valid",
        "What it says was not made by the nodes that it names.",
    ),
    (
        "bundle.invalid",
        "caller",
        422,
        False,
        "Bundle not valid",
        "Do not trust anything in it; get the bundle again.",
    ),
    (
        "bundle.untrusted",
        "caller",
        422,
        False,
        "Bundle not signed by whom you trust",
        "Name whose signature counts: --node ID or --vkey KEY, from a source other than the bundle; or --any-node.",
    ),
)
