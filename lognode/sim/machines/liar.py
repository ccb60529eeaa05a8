"""A member that relays what others wrote wrongly: what honest nodes must find, and go on without.

Each style is one lie. Invariant: an honest node that believes any of them is broken.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Final

from lognode.core.span import ORGANIZATION, Entry, Range
from lognode.protocol.messages import Push, Ranges, Request
from lognode.protocol.wire import decode_answer, encode_answer

# Not about what others wrote: its own feed has two histories, since its disk is put back to an older state.
FORKS: Final = "forks"


class Liar:
    """The machine that lies, and how."""

    def __init__(self, name: int, style: str, random: Random) -> None:
        self.name = name
        self.style = style
        self.told = 0
        self._random = random

    @property
    def is_forking(self) -> bool:
        """Whether its own feed is what it lies about."""
        return self.style == FORKS

    def request(self, name: int, request: Request) -> Request:
        """A request as it leaves a machine."""
        if name != self.name or not isinstance(request, Push):
            return request
        return request._replace(ranges=self._alter(request.ranges))

    def answer(self, name: int, answer: bytes) -> bytes:
        """An answer as it leaves a machine."""
        if name != self.name:
            return answer
        said = decode_answer(answer)
        return encode_answer(Ranges(self._alter(said.ranges)), 1) if isinstance(said, Ranges) else answer

    def _alter(self, ranges: Sequence[Range]) -> Sequence[Range]:
        altered = STYLES[self.style](ranges, self._random)
        self.told += list(altered) != list(ranges)
        return altered


def _corrupt(ranges: Sequence[Range], random: Random) -> Sequence[Range]:
    """Other words in the mouth of an author."""
    return [part._replace(entries=_with_one(part.entries, random, _reworded)) for part in ranges]


def _censor(ranges: Sequence[Range], random: Random) -> Sequence[Range]:
    """A span of all members as if it were private."""
    return [part._replace(entries=_with_one(part.entries, random, _stubbed)) for part in ranges]


def _skip(ranges: Sequence[Range], random: Random) -> Sequence[Range]:
    """A feed without some of its entries."""
    return [
        part._replace(start=part.start + 1, entries=part.entries[1:])
        if len(part.entries) > 1 and random.random() < 0.5
        else part
        for part in ranges
    ]


def _withhold(ranges: Sequence[Range], random: Random) -> Sequence[Range]:
    """Nothing of what was promised."""
    return [part for part in ranges if random.random() < 0.5]


def _with_one(entries: Sequence[Entry], random: Random, change: Callable[[Entry], Entry | None]) -> Sequence[Entry]:
    """Entries of which one, if one can be, is changed."""
    at = random.randrange(len(entries))
    for place in [*range(at, len(entries)), *range(at)]:
        changed = change(entries[place])
        if changed is not None:
            return (*entries[:place], changed, *entries[place + 1 :])
    return entries


def _reworded(entry: Entry) -> Entry | None:
    if entry.visibility != ORGANIZATION or not entry.body:
        return None
    body = entry.body[:-1] + bytes([entry.body[-1] ^ 1])
    header = entry.header.replace(sha256(entry.body).digest(), sha256(body).digest())
    return entry._replace(header=header, body=body)


def _stubbed(entry: Entry) -> Entry | None:
    if entry.visibility != ORGANIZATION or entry.is_withheld:
        return None
    return Entry(entry.hlc, entry.visibility, entry.header_sha256, None)


STYLES: Final[Mapping[str, Callable[[Sequence[Range], Random], Sequence[Range]]]] = {
    "corrupts": _corrupt,
    "censors": _censor,
    "skips": _skip,
    "withholds": _withhold,
    FORKS: lambda ranges, _: ranges,
}
