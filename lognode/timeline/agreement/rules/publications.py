"""Publications: the spans by which the rules of a tenant change.

Owns the data of `rule.publish` and `rule.disable`, and the row that follows from such a span. Must not know what a rule
set says, nor whether its author might publish it. Invariant: the row depends on the span's own bytes alone, so all
nodes have the same rows.
Source: docs/protocol.md, Rule spans.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, b32encode
from lognode.core.limits import RULE_SET_BYTES_MAX
from lognode.core.span import EXECUTED, PRIVATE
from lognode.timeline.control.shape import elements, fault_of_after

PUBLISH: Final = "rule.publish"
DISABLE: Final = "rule.disable"
PUBLISHING: Final = (PUBLISH, DISABLE)
Media = Literal["yaml", "json"]
MEDIAS: Final[tuple[Media, ...]] = ("yaml", "json")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class RulePublish(NamedTuple):
    """The data of `rule.publish`, in the order of its encoding; `text` are the author's bytes."""

    after: list[SpanId]
    name: str
    media: Media
    text: bytes

    @property
    def hash(self) -> bytes:
        """What names this version of the rule set."""
        return sha256(self.text).digest()


class RuleDisable(NamedTuple):
    """The data of `rule.disable`, in the order of its encoding."""

    after: list[SpanId]
    name: str


class Publication(NamedTuple):
    """A stored span of one of both kinds; where it disables, there is no `hash`, no `media` and no text of any `size`.

    `after` are the control spans by which it is judged: those that it names, and the `feed.open` of its feed.
    """

    name: str
    hash: bytes | None
    id: SpanId
    feed: int  # its local number
    feed_id: FeedId
    seq: int
    row: int
    node_key: bytes
    after: Sequence[SpanId]
    media: Media | None = None
    size: int = 0


def is_rule_set_name(name: object) -> bool:
    """Whether this may be the name of a rule set."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def rule_publish_data(after: Sequence[SpanId], name: str, media: Media, text: bytes) -> bytes:
    """The data of the `rule.publish` by which a rule set has this text."""
    return encode([sorted(set(after)), name, media, text])


def rule_disable_data(after: Sequence[SpanId], name: str) -> bytes:
    """The data of the `rule.disable` by which a rule set has no effect any more."""
    return encode([sorted(set(after)), name])


def parse_rule_publish(data: bytes) -> RulePublish:
    """The parts of `rule.publish`, its text not read. Raises CallerError("body.malformed")."""
    said = RulePublish(*elements(PUBLISH, data, len(RulePublish._fields)))  # type: ignore[arg-type]
    fault = fault_of_after(said.after) or _fault_of_name(said.name)
    if not fault and said.media not in MEDIAS:
        fault = f"media is none of {', '.join(MEDIAS)}"
    if not fault and not (said.text.__class__ is bytes and 0 < len(said.text) <= RULE_SET_BYTES_MAX):
        fault = f"text is not 1 to {RULE_SET_BYTES_MAX} bytes"
    if not fault and not _is_utf8(said.text):
        fault = "text is no UTF-8"
    if fault:
        raise CallerError("body.malformed", f"{PUBLISH}: {fault}")
    return said


def parse_rule_disable(data: bytes) -> RuleDisable:
    """The parts of `rule.disable`. Raises CallerError("body.malformed")."""
    said = RuleDisable(*elements(DISABLE, data, len(RuleDisable._fields)))  # type: ignore[arg-type]
    fault = fault_of_after(said.after) or _fault_of_name(said.name)
    if fault:
        raise CallerError("body.malformed", f"{DISABLE}: {fault}")
    return said


def parse_publication(kind: str, data: bytes) -> RulePublish | RuleDisable:
    """The parts of a span of one of both kinds. Raises CallerError("body.malformed")."""
    return parse_rule_publish(data) if kind == PUBLISH else parse_rule_disable(data)


def publication_row(kind: str, status: int, visibility: int, data: bytes) -> tuple[str, bytes | None] | None:
    """The name that a span is about, and the hash of the text that it gives it; no hash where it disables.

    None for what is no publication: other kinds, trials, private and malformed spans.
    """
    if kind not in PUBLISHING or status != EXECUTED or visibility == PRIVATE:
        return None
    try:
        said = parse_publication(kind, data)
    except CallerError:
        return None
    return said.name, said.hash if isinstance(said, RulePublish) else None


def publication_json(kind: str, data: bytes) -> object:
    """The data of such a span for people. Raises CallerError("body.malformed")."""
    said = parse_publication(kind, data)
    shown: dict[str, object] = {"after": [b32encode(span) for span in said.after], "name": said.name}
    if isinstance(said, RulePublish):
        shown.update(media=said.media, text=said.text.decode(), version=said.hash.hex())
    return shown


def _fault_of_name(name: object) -> str | None:
    return None if is_rule_set_name(name) else "name is none of a rule set"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
