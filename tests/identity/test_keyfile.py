"""Key files: a seed comes back, or an error with a way out; never another seed."""

import json
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.identity.keyfile import KEY_FILE_BYTES_MAX, open_seed, public_of, seal_seed
from lognode.identity.keys import KeyPair

SEED = bytes(range(32))
PUBLIC = KeyPair(SEED).public
PASSPHRASE = b"correct horse battery staple"


def counting_bytes() -> Callable[[int], bytes]:
    """Random bytes of a fake world: another run of one number at each call."""
    numbers: Iterator[int] = count(1)
    return lambda size: bytes([next(numbers)]) * size


PLAIN = seal_seed(SEED, None, counting_bytes())
SEALED = seal_seed(SEED, PASSPHRASE, counting_bytes())


def refused(text: bytes, passphrase: bytes | None = None) -> CallerError:
    with pytest.raises(CallerError) as caught:
        open_seed(text, passphrase)
    assert b32encode(SEED) not in str(caught.value)
    return caught.value


def changed(text: bytes, **values: object) -> bytes:
    return json.dumps({**json.loads(text), **values}).encode()


def resealed(**values: object) -> bytes:
    return changed(SEALED, sealed_seed={**json.loads(SEALED)["sealed_seed"], **values})


def test_a_plain_file_gives_its_seed_back() -> None:
    assert open_seed(PLAIN, None) == SEED
    assert public_of(PLAIN) == PUBLIC
    assert json.loads(PLAIN) == {"lognode_key": 1, "public": b32encode(PUBLIC), "seed": b32encode(SEED)}


def test_a_plain_file_opens_also_where_a_passphrase_is_at_hand() -> None:
    assert open_seed(PLAIN, PASSPHRASE) == SEED


def test_a_sealed_file_gives_its_seed_back_and_shows_the_public_key_alone() -> None:
    assert open_seed(SEALED, PASSPHRASE) == SEED
    assert public_of(SEALED) == PUBLIC
    assert b32encode(SEED).encode() not in SEALED
    assert json.loads(SEALED)["sealed_seed"]["salt"] == b32encode(b"\x01" * 16)


def test_two_sealings_share_nothing_but_the_public_key() -> None:
    world = counting_bytes()
    first, second = (json.loads(seal_seed(SEED, PASSPHRASE, world)) for _ in range(2))
    assert first["public"] == second["public"]
    assert first["sealed_seed"]["salt"] != second["sealed_seed"]["salt"]
    assert first["sealed_seed"]["box"] != second["sealed_seed"]["box"]


@pytest.mark.parametrize("passphrase", [None, b"", b"wrong", PASSPHRASE + b"\n"])
def test_a_missing_or_wrong_passphrase_is_named(passphrase: bytes | None) -> None:
    assert refused(SEALED, passphrase).code == "key.passphrase"


def test_a_seed_is_not_sealed_with_an_empty_passphrase() -> None:
    with pytest.raises(CallerError) as caught:
        seal_seed(SEED, b"", counting_bytes())
    assert caught.value.code == "key.passphrase"


@pytest.mark.parametrize("text", [PLAIN, SEALED])
def test_a_file_with_the_public_key_of_another_seed_is_refused(text: bytes) -> None:
    error = refused(changed(text, public=b32encode(KeyPair(bytes(32)).public)), PASSPHRASE)
    assert error.code == "key.malformed"
    assert "public key" in error.detail


def opened(text: bytes) -> bytes | str:
    """The seed in the file, or the code that says why not."""
    try:
        return open_seed(text, None)
    except CallerError as error:
        return error.code


def test_a_changed_byte_of_a_plain_file_never_gives_another_seed() -> None:
    for at in range(len(PLAIN)):
        for other in {0, 0x20, 0x30, PLAIN[at] ^ 1, PLAIN[at] ^ 0x80}:
            assert opened(PLAIN[:at] + bytes([other]) + PLAIN[at + 1 :]) in {SEED, "key.malformed"}


def test_a_plain_file_that_was_cut_short_is_refused() -> None:
    # The newline at the end is the one byte that says nothing.
    for length in range(len(PLAIN) - 1):
        assert opened(PLAIN[:length]) == "key.malformed"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00" * 200,
        b"[]",
        b"{}",
        b"\xff" + PLAIN,
        PLAIN + PLAIN,
        PLAIN + b" " * KEY_FILE_BYTES_MAX,
        PLAIN.replace(b'"seed"', b'"seeds"'),
        PLAIN.replace(b"{", b'{"seed": "",', 1),
        changed(PLAIN, lognode_key=2),
        changed(PLAIN, lognode_key="1"),
        changed(PLAIN, public=None),
        changed(PLAIN, public=b32encode(PUBLIC).upper()),
        changed(PLAIN, seed=None),
        changed(PLAIN, seed=""),
        changed(PLAIN, seed=b32encode(SEED)[:-1]),
        changed(PLAIN, seed=SEED.hex()),
        changed(SEALED, seed=b32encode(SEED)),
        resealed(salt=b32encode(bytes(15))),
        resealed(box=b32encode(bytes(71))),
        resealed(opslimit="3"),
        resealed(kdf="argon2id"),
    ],
)
def test_a_damaged_file_is_refused(text: bytes) -> None:
    assert refused(text, PASSPHRASE).code == "key.malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memlimit", 100 * 2**30),
        ("memlimit", 2**28 + 1),
        ("memlimit", 2**26 - 1),
        ("memlimit", -1),
        ("opslimit", 17),
        ("opslimit", 1),
        ("opslimit", 2**62),
    ],
)
def test_a_hostile_file_cannot_ask_for_much_memory_or_time_nor_for_little(name: str, value: int) -> None:
    error = refused(resealed(**{name: value}), PASSPHRASE)
    assert error.code == "key.malformed"
    assert name in error.detail


def test_a_changed_box_is_taken_for_a_wrong_passphrase() -> None:
    box = json.loads(SEALED)["sealed_seed"]["box"]
    error = refused(resealed(box=box[:-10] + ("0" if box[-10] != "0" else "1") + box[-9:]), PASSPHRASE)
    assert error.code == "key.passphrase"
