"""Ed25519 signatures on which verifiers are known to differ, and which must all be refused.

Made from the equation S * B = R + h * A by hand, since no library signs like this. Invariant: each would pass in
a verifier that leaves out one check of libsodium's.
"""

from hashlib import sha512
from typing import Any, Final

from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from tests.vectors.history import chance

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
PRIME: Final = 2**255 - 19
NEUTRAL: Final = b"\x01" + bytes(31)  # the point that changes nothing
OF_ORDER_8: Final = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
MESSAGE: Final = b"lognode"


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "little")


SECRET: Final = _number(chance("scalar", 64)) % ORDER
PUBLIC: Final = crypto_scalarmult_ed25519_base_noclamp(_bytes(SECRET))
NONCE: Final = _number(chance("nonce", 64)) % ORDER
COMMITMENT: Final = crypto_scalarmult_ed25519_base_noclamp(_bytes(NONCE))


def _signed(commitment: bytes, nonce: int) -> bytes:
    """The signature whose first half is `commitment`, of which `nonce` is the logarithm up to a small order."""
    challenge = _number(sha512(commitment + PUBLIC + MESSAGE).digest()) % ORDER
    return commitment + _bytes((nonce + challenge * SECRET) % ORDER)


def signatures() -> dict[str, Any]:
    good = _signed(COMMITMENT, NONCE)
    bad = {
        "S that is not below the group's order": (PUBLIC, good[:32] + _bytes(_number(good[32:]) + ORDER)),
        "R of small order": (PUBLIC, _signed(NEUTRAL, 0)),
        "R with a part of small order": (PUBLIC, _signed(crypto_core_ed25519_add(COMMITMENT, OF_ORDER_8), NONCE)),
        "a key of small order": (NEUTRAL, NEUTRAL + bytes(32)),
        "a key that is not written in the one way": (_bytes(PRIME + 1), NEUTRAL + bytes(32)),
        "another R": (PUBLIC, PUBLIC + good[32:]),
        "63 bytes": (PUBLIC, good[:63]),
        "a key of 31 bytes": (PUBLIC[:31], good),
    }
    return {
        "message": MESSAGE.hex(),
        "accepted": [{"key": PUBLIC.hex(), "signature": good.hex()}],
        "refused": [{"name": name, "key": key.hex(), "signature": made.hex()} for name, (key, made) in bad.items()],
    }
