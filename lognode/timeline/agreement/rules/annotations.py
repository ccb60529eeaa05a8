"""What the node that writes a span notes beside what its author said: what its gate rules found.

Owns the member `rules` of a body's annotations; `origin` is core.draft's. Invariant: what a stranger put there is read
or passed over, never an error, and costs no more than its length.
Source: docs/protocol.md, Notes of rules.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import cbor2

from lognode.core.codec import decode_value
from lognode.core.errors import CallerError
from lognode.core.limits import TAGS_MAX, TEXT_BYTES_MAX

RULES: Final = "rules"
_SHORT_BYTES: Final = 512  # of annotations of which the tags are kept


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


def rule_tags(annotations: bytes) -> Sequence[str]:
    """Tags that rules added to a span, which it is found by like by its own."""
    # The same marks stand on many spans.
    return _short_tags(annotations) if len(annotations) <= _SHORT_BYTES else _tags(annotations)


def _tags(annotations: bytes) -> tuple[str, ...]:
    tags = rules_in(annotations).get("tags")
    if not isinstance(tags, list):
        return ()
    # No character takes more than four bytes.
    return tuple(tag for tag in tags[:TAGS_MAX] if isinstance(tag, str) and 0 < len(tag) <= TEXT_BYTES_MAX)


_short_tags: Final = lru_cache(maxsize=256)(_tags)


def is_simulated(annotations: bytes) -> bool:
    """Whether a rule, not its author, made the span a simulated one."""
    return rules_in(annotations).get("verdict") == "simulate"
