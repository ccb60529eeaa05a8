"""Checkpoints and verifier keys against C2SP signed-note and tlog-checkpoint."""

from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId, b32encode
from lognode.core.limits import NOTE_BYTES_MAX, SIZE_MAX
from lognode.identity.keys import KeyPair, NodeKeys, verify_signature
from lognode.timeline.proof.checkpoint import (
    decode_base64,
    encode_base64,
    origin,
    parse_checkpoint,
    parse_note,
    parse_number,
    parse_origin,
    parse_vkey,
    sign_checkpoint,
    verify_checkpoint,
    verify_note,
    vkey,
)

# The example of the C2SP signed-note specification.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

# The example of the C2SP tlog-checkpoint specification.
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()

KEYS = NodeKeys.from_seed(bytes(range(32)))
TENANT = TenantId(bytes(range(20)))
FEED = FeedId(bytes(range(16)))
LOG_KEY = KEYS.log_key(FEED)
NAME = origin(TENANT, FEED)
VKEY = vkey(NAME, LOG_KEY.public)
ROOT = sha256(b"root").digest()
NOTE = sign_checkpoint(LOG_KEY, TENANT, FEED, 7, ROOT)
# The same key as another signature type, 0x04, has another meaning.
COSIGNER_KEY_ID = sha256(NAME.encode() + b"\n\x04" + LOG_KEY.public).hexdigest()[:8]
COSIGNER_VKEY = f"{NAME}+{COSIGNER_KEY_ID}+" + b64encode(b"\x04" + LOG_KEY.public).decode()
TEXT, LINE = NOTE.decode().split("\n\n")


def signed(text: str, *, key: KeyPair = LOG_KEY, name: str = NAME) -> bytes:
    """A note made as the specification says, whatever its text."""
    key_id = sha256(name.encode() + b"\n\x01" + key.public).digest()[:4]
    return f"{text}\n— {name} {b64encode(key_id + key.sign(text.encode())).decode()}\n".encode()


def refused(note: bytes, vkey_text: str = VKEY) -> str:
    with pytest.raises(CallerError) as caught:
        verify_checkpoint(note, vkey_text)
    assert caught.value.code == "checkpoint.invalid"
    return caught.value.detail


def test_the_example_of_the_specification_verifies() -> None:
    assert parse_vkey(C2SP_VKEY)[0] == "example.com/foo"
    assert vkey(*parse_vkey(C2SP_VKEY)) == C2SP_VKEY
    assert verify_note(C2SP_NOTE, C2SP_VKEY).text == "This is an example message.\n"


def test_the_example_checkpoint_of_the_specification_parses() -> None:
    checkpoint = parse_checkpoint(C2SP_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert b64encode(checkpoint.root) == b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    assert [line.name for line in checkpoint.signatures] == ["example.com/behind-the-sofa"]


def test_a_checkpoint_is_the_text_that_the_design_shows() -> None:
    name = f"lognode.v1/{b32encode(TENANT)}/{b32encode(FEED)}"
    assert signed(f"{name}\n7\n{b64encode(ROOT).decode()}\n", name=name) == NOTE
    checkpoint = verify_checkpoint(NOTE, VKEY)
    assert checkpoint[:3] == (name, 7, ROOT)
    assert parse_origin(checkpoint.origin) == (TENANT, FEED)
    assert parse_checkpoint(NOTE) == checkpoint


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=16, max_size=16), st.integers(0, SIZE_MAX))
def test_what_is_signed_is_read_back(tenant: bytes, feed: bytes, size: int) -> None:
    tenant_id, feed_id = TenantId(tenant), FeedId(feed)
    note = sign_checkpoint(LOG_KEY, tenant_id, feed_id, size, ROOT)
    checkpoint = verify_checkpoint(note, vkey(origin(tenant_id, feed_id), LOG_KEY.public))
    assert (parse_origin(checkpoint.origin), checkpoint.size, checkpoint.root) == ((tenant_id, feed_id), size, ROOT)


def test_every_changed_dropped_or_added_byte_is_refused() -> None:
    for at in range(len(NOTE)):
        for changed in {NOTE[at] ^ 1, NOTE[at] ^ 32, ord("\n"), ord(" "), ord("A")} - {NOTE[at]}:
            refused(NOTE[:at] + bytes([changed]) + NOTE[at + 1 :])
        refused(NOTE[:at] + NOTE[at + 1 :])
        for added in b"\n\r A=\x00\x80":
            refused(NOTE[:at] + bytes([added]) + NOTE[at:])
    for added in b"\n\r A=\x00\x80":
        refused(NOTE + bytes([added]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (TEXT.replace("\n7\n", "\n07\n"), "tree size"),
        (TEXT.replace("\n7\n", "\n+7\n"), "tree size"),
        (TEXT.replace("\n7\n", "\n-0\n"), "tree size"),
        (TEXT.replace("\n7\n", "\n\u0667\n"), "tree size"),
        (TEXT.replace("\n7\n", "\n7 \n"), "tree size"),
        (TEXT.replace("\n7\n", f"\n{SIZE_MAX + 1}\n"), "tree size"),
        (TEXT.replace("\n7\n", f"\n{'9' * 5000}\n"), "tree size"),
        (TEXT.replace("\n7\n", "\n"), "lines"),
        (TEXT + "\nan extension", "lines"),
        (TEXT + "\n", "lines"),
        (TEXT.replace("\n7\n", "\n\n"), "tree size"),
        ("\n" + TEXT.partition("\n")[2], "origin"),
        (TEXT[:-1], "root"),
        (TEXT + "AAAA", "root"),
        (TEXT[:-2] + chr(ord(TEXT[-2]) + 1) + "=", "root"),
    ],
)
def test_a_signed_text_with_another_form_is_refused(text: str, fault: str) -> None:
    assert fault in refused(signed(text + "\n"))


@pytest.mark.parametrize(
    ("note", "fault"),
    [
        (b"", "no signature"),
        (TEXT.encode() + b"\n", "no signature"),
        (TEXT.encode() + b"\n\n", "no signature lines"),
        (NOTE[:-1], "no signature"),
        (NOTE + b"\n", "no signature lines"),
        (NOTE.replace(b"\n7\n", b"\n7\r\n"), "control character"),
        (NOTE.replace(b"\n7\n", b"\n7\x00\n"), "control character"),
        (b"\xff" + NOTE, "UTF-8"),
        (f"{TEXT}\n\n- {LINE[2:]}".encode(), "is no signature line"),
        (f"{TEXT}\n\n—\u00a0{LINE[2:]}".encode(), "is no signature line"),
        (TEXT.encode() + b"\n\n" + LINE.replace("/", "/\u2003", 1).encode(), "is no signature line"),
        (f"{TEXT}\n\n{LINE.replace('/', '+', 1)}".encode(), "is no signature line"),
        (f"{TEXT}\n\n— {NAME} AAAAAA==\n".encode(), "is no signature line"),
        (f"{TEXT}\n\n— {NAME} AAAAAAB=\n".encode(), "is no signature line"),
        (f"{TEXT}\n\n— {NAME} AAAAAAA=\n".encode(), "no signature by the key"),
        (NOTE + b"x" * NOTE_BYTES_MAX, "at most"),
    ],
)
def test_a_text_that_is_no_note_is_refused(note: bytes, fault: str) -> None:
    assert fault in refused(note)


def test_signatures_of_unknown_keys_are_ignored() -> None:
    others = [KeyPair(sha256(bytes([number])).digest()) for number in range(15)]
    cosignatures = "".join(
        signed(TEXT + "\n", key=key, name="witness.example").decode().split("\n\n")[1] for key in others
    )
    longest = f"— pq.example {b64encode(bytes(5000)).decode()}\n"
    for lines in (cosignatures + LINE, LINE + cosignatures, longest * 15 + LINE):
        checkpoint = verify_checkpoint(f"{TEXT}\n\n{lines}".encode(), VKEY)
        assert (len(checkpoint.signatures), checkpoint.size) == (16, 7)
    assert "no signature by the key" in refused(f"{TEXT}\n\n{cosignatures}".encode())


def test_a_second_signature_under_the_known_key_spoils_the_note() -> None:
    other = signed("another text\n").decode().split("\n\n")[1]
    assert "not one" in refused(f"{TEXT}\n\n{LINE}{other}".encode())
    assert "not one" in refused(f"{TEXT}\n\n{other}{LINE}".encode())
    assert "does not match" in refused(f"{TEXT}\n\n{other}".encode())


def test_the_name_alone_or_the_key_alone_is_not_the_key() -> None:
    stranger = KeyPair(sha256(b"stranger").digest())
    assert "no signature by the key" in refused(signed(TEXT + "\n", key=stranger))
    assert "no signature by the key" in refused(signed(TEXT + "\n", name="lognode.v1/other"))


def test_a_key_signs_checkpoints_of_its_own_origin_alone() -> None:
    other = origin(TENANT, FeedId(bytes(16)))
    note = signed(TEXT.replace(NAME, other) + "\n")
    assert "origin" in refused(note)
    assert parse_checkpoint(note).origin == other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        VKEY[:-1],
        VKEY + "A",
        VKEY + "\n",
        " " + VKEY,
        VKEY.replace(NAME, ""),
        VKEY.replace(NAME, NAME + "\u00a0"),
        VKEY.replace(NAME, NAME + "\x01"),
        VKEY.replace(NAME, NAME[:-1]),
        VKEY.replace("+", "+0", 1),
        NAME + "+" + VKEY.split("+", 2)[1].upper() + "+" + VKEY.split("+", 2)[2],
        vkey(NAME, LOG_KEY.public[:31]),
        vkey(NAME, LOG_KEY.public + b"\x00"),
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        COSIGNER_VKEY,
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    assert text != VKEY
    with pytest.raises(CallerError) as caught:
        verify_checkpoint(NOTE, text)
    assert caught.value.code == "vkey.malformed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lognode.v1",
        NAME + "/",
        NAME[:-1],
        NAME.upper(),
        NAME.replace("v1", "v2"),
        "/" + NAME,
        NAME[:-1] + "z",
        "example.com/behind-the-sofa",
    ],
)
def test_an_origin_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_origin(text)
    assert caught.value.code == "checkpoint.invalid"


@given(st.text(alphabet="AB/+=- \n09a", max_size=12))
def test_base64_that_decodes_has_one_text(text: str) -> None:
    data = decode_base64(text)
    assert data is None or encode_base64(data) == text


@given(st.text(max_size=24) | st.integers(0, 2 * SIZE_MAX).map(str))
def test_a_number_that_parses_has_one_text(text: str) -> None:
    number = parse_number(text)
    assert number is None or (str(number) == text and number <= SIZE_MAX)


def test_a_note_may_hold_empty_lines_before_its_last_one() -> None:
    # The first example of the specification, whose key is not published: its text has an empty line inside.
    text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n"
    note = parse_note(signed(text))
    assert note.text == text
    assert verify_signature(LOG_KEY.public, text.encode(), note.signatures[0].signature)
