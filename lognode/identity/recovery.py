"""A recovery key as 24 words.

Owns the way from words to key and back. Must not know where the words are kept. Invariant: words with a mistake are
refused, not taken for those of another key.
Source: docs/protocol.md, Keys.
"""

from functools import cache
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from lognode.core.errors import CallerError
from lognode.identity.keys import SEED_BYTES, KeyPair

ENTROPY_BYTES: Final = 32
WORDS: Final = 24


def recovery_words(entropy: bytes) -> str:
    """The words of BIP-39 for 32 random bytes, with spaces between them."""
    assert len(entropy) == ENTROPY_BYTES
    return _list().to_mnemonic(entropy)


def recovery_key(words: str) -> KeyPair:
    """The recovery key that these words stand for; case and white space do not matter.

    Raises CallerError("recovery.malformed"), which quotes none of them.
    """
    given = words.lower().split()
    if len(given) != WORDS:
        raise CallerError("recovery.malformed", f"{len(given)} words, not {WORDS}")
    unknown = [str(place) for place, word in enumerate(given, start=1) if word not in _list().wordlist]
    if unknown:
        raise CallerError("recovery.malformed", f"not of the list: word {', '.join(unknown)}")
    try:
        entropy = bytes(_list().to_entropy(given))
    except ValueError:
        raise CallerError("recovery.malformed", "all are of the list, but they do not belong together") from None
    seed = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=b"lognode recovery v1").derive(entropy)
    return KeyPair(seed)


@cache
def _list() -> Mnemonic:
    return Mnemonic("english")
