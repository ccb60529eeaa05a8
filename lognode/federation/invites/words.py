"""Four words that both ends of a joining show, for people to compare.

Must not know of invites. Invariant: the words follow from what both ends must agree on, and each end takes it from what
it knows by itself: its own key from itself, the other's from what the other signed.
"""

from functools import cache
from hashlib import sha256
from typing import Final

from mnemonic import Mnemonic

from lognode.core.ids import TenantId

WORDS: Final = 4
_WORD_BITS: Final = 11  # the list has 2,048 words


def words_of(tenant: TenantId, joiner_key: bytes, server_key: bytes) -> str:
    """The four words of a joiner that a root member admits, with spaces between them; both by their node keys."""
    number = int.from_bytes(sha256(b"lognode join words v1" + tenant + joiner_key + server_key).digest())
    number >>= 256 - WORDS * _WORD_BITS
    shifts = range((WORDS - 1) * _WORD_BITS, -1, -_WORD_BITS)
    return " ".join(_words()[(number >> shift) % 2**_WORD_BITS] for shift in shifts)


@cache
def _words() -> list[str]:
    return Mnemonic("english").wordlist
