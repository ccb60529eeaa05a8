"""What the node that writes a span notes beside what its author said: what its gate rules found.

Owns the member `rules` of a body's annotations; `origin` is core.draft's. Invariant: what a stranger put there is read
or passed over, never an error, and costs no more than its length.
Source: docs/protocol.md, Notes of rules.
"""

from collections.abc import Mapping
from typing import Any, Final

import cbor2

from lognode.core.codec import decode_value
from lognode.core.errors import CallerError
from lognode.core.limits import TAGS_MAX, TEXT_BYTES_MAX

RULES: Final = "rules"


def with_rules(annotations: bytes, said: Mapping[str, Any]) -> bytes:
    """CBOR of annotations (b"" is none) with what rules found beside what is there."""
    held = decode_value(annotations) if annotations else None
    return cbor2.dumps({**(held if isinstance(held, dict) else {}), RULES: {**rules_in(annotations), **said}})


def rules_in(annotations: bytes) -> Mapping[str, Any]:
    """What rules found of a span; nothing where none did, or what stands there has no such form."""
    if not annotations:
        return {}
    try:
        held = decode_value(annotations)
    except CallerError:
        return {}
    said = held.get(RULES) if isinstance(held, dict) else None
    return said if isinstance(said, dict) else {}


def rule_tags(annotations: bytes) -> list[str]:
    """Tags that rules added to a span, which it is found by like by its own."""
    tags = rules_in(annotations).get("tags")
    if not isinstance(tags, list):
        return []
    # No character takes more than four bytes.
    return [tag for tag in tags[:TAGS_MAX] if isinstance(tag, str) and 0 < len(tag) <= TEXT_BYTES_MAX]


def is_simulated(annotations: bytes) -> bool:
    """Whether a rule, not its author, made the span a simulated one."""
    return rules_in(annotations).get("verdict") == "simulate"
