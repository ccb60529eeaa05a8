"""Rule spans: what they say, which of them count, and what is in force. From docs/protocol.md, Rule spans.

Shares no code with lognode. Whether a text is a rule set is not looked at.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.independent.protocol.cbor import Refused, need, read_array
from tests.independent.protocol.fields import as_bytes, as_text, sha256
from tests.independent.protocol.membership.judgement import ROOT
from tests.independent.protocol.membership.membership import Settled
from tests.independent.protocol.openings import read_after

TEXT_BYTES_MAX = 65_536
SETS_MAX = 64
SETS_BYTES_MAX = 262_144
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Publication:
    """What a rule span says; `text` is None where it disables."""

    after: tuple[bytes, ...]
    name: str
    text: bytes | None

    @property
    def version(self) -> bytes | None:
        return None if self.text is None else sha256(self.text)


@dataclass(frozen=True)
class Placed:
    """A publication where it stands."""

    id: bytes
    author: bytes
    feed: bytes
    seq: int
    said: Publication


def read_data(kind: str, data: bytes) -> Publication:
    """Raises Refused where the data has not the form of its kind."""
    parts = read_array(data, 4 if kind == "rule.publish" else 2)
    after, name = tuple(read_after(parts[0])), as_text(parts[1])
    need(NAME.fullmatch(name), "no name")
    if kind == "rule.disable":
        return Publication(after, name, None)
    need(parts[2] in ("yaml", "json"), "no media")
    text = as_bytes(parts[3])
    need(0 < len(text) <= TEXT_BYTES_MAX, "no text of this size")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("no UTF-8") from None
    return Publication(after, name, text)


def read_span(kind: str, status: int, visibility: int, data: bytes) -> Publication | None:
    """The publication that a span is; None for any other."""
    if kind not in ("rule.publish", "rule.disable") or status or visibility not in (1, 2):
        return None
    try:
        return read_data(kind, data)
    except Refused:
        return None


def fault_of(settled: Settled, one: Placed) -> str | None:
    """Why a publication does not count; None where it does."""
    cut = settled.cut(one.feed)
    if cut is not None and one.seq >= cut[0]:
        return cut[1]
    opening = [span.id for span in settled.ordered if span.feed == one.feed and not span.seq]
    is_root = settled.level(one.author, [*one.said.after, *opening]) == ROOT
    return None if is_root else "member.not_root"


def last_words(counting: Iterable[Placed], past: Mapping[bytes, int]) -> dict[str, Placed]:
    found: dict[str, Placed] = {}
    for one in counting:
        held = found.get(one.said.name)
        if one.seq < past.get(one.feed, 0) and (held is None or one.id > held.id):
            found[one.said.name] = one
    return found


def in_force(words: Mapping[str, Placed]) -> dict[str, bytes]:
    found, size = dict[str, bytes](), 0
    for name in sorted(words):
        text = words[name].said.text
        if text is not None and len(found) < SETS_MAX and size + len(text) <= SETS_BYTES_MAX:
            found[name], size = sha256(text), size + len(text)
    return found
