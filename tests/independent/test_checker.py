"""Checks the checker, with trees, paths and files made here by naive code straight from RFC 6962.

Knows the checker's public functions and nothing of lognode. Invariant: the byte sweep tries every
position of a file, and is itself shown to find the holes of two checkers made lenient on purpose.
"""

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tests.independent import tlog_proof_checker as checker
from tests.independent.tlog_proof_checker import Accepted, Rejected, check

SIZES = range(1, 41)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
XOR_MASKS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x03, 0x1F, 0x55, 0xFF)
INSERTED = (*b"\n\r\t\x00 0A=+/-", 0x2E, 0x80, 0xFF)
SWEPT = ((1, 0), (7, 6), (40, 19))  # (size, index): no path, a ragged path, a long path

# Leaf data of certificate-transparency's reference tests, and the published roots of seven of its trees.
KNOWN_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
KNOWN_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

# The example of C2SP signed-note.
NOTE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE_TEXT = b"This is an example message.\n"
NOTE_LINE = (
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
    "OBH3mFXmRKuwHjG1Yu72IneyaQM="
).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b32(data: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def split_point(count: int) -> int:
    """The largest power of two below `count`."""
    return next(1 << bit for bit in range(64) if count <= 2 << bit)


def tree_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, for one leaf or more."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split_point(len(leaves))
    return hashlib.sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:])).digest()


def tree_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split_point(len(leaves))
    if index < k:
        return [*tree_path(index, leaves[:k]), tree_root(leaves[k:])]
    return [*tree_path(index - k, leaves[k:]), tree_root(leaves[:k])]


def vkey_of(name: str, key: SigningKey, *, kind: int = 1) -> str:
    typed = bytes([kind]) + bytes(key.verify_key)
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    return f"{name}+{key_id.hex()}+{b64(typed)}"


def signature_line(name: str, key: SigningKey, text: str) -> str:
    key_id = bytes.fromhex(vkey_of(name, key).split("+", 2)[1])
    return f"\u2014 {name} {b64(key_id + key.sign(text.encode()).signature)}\n"


@dataclass(frozen=True)
class Log:
    """A feed with a key of its own; `proof` takes each part of the file, so that tests can bend it."""

    key: SigningKey
    tenant: bytes
    feed_id: bytes

    @property
    def origin(self) -> str:
        return f"lognode.v1/{b32(self.tenant)}/{b32(self.feed_id)}"

    @property
    def vkey(self) -> str:
        return vkey_of(self.origin, self.key)

    def entries(self, size: int) -> list[bytes]:
        return [self.entry(seq) for seq in range(size)]

    def entry(self, seq: int) -> bytes:
        hlc = (1_700_000_000_000 + seq) << 16
        header_hash = hashlib.sha256(b"header" + seq.to_bytes(8, "big")).digest()
        return self.feed_id + seq.to_bytes(8, "big") + hlc.to_bytes(8, "big") + b"\x01" + header_hash

    def checkpoint(self, size: str, root: str, *, origin: str | None = None) -> str:
        text = f"{self.origin if origin is None else origin}\n{size}\n{root}\n"
        return f"{text}\n{signature_line(self.origin, self.key, text)}"

    def proof(self, size: int, index: int) -> bytes:
        entries = self.entries(size)
        path = "".join(b64(node) + "\n" for node in tree_path(index, entries))
        return (
            f"c2sp.org/tlog-proof@v1\nextra {b64(entries[index])}\nindex {index}\n{path}\n"
            f"{self.checkpoint(str(size), b64(tree_root(entries)))}"
        ).encode()


LOG = Log(
    key=SigningKey(bytes(range(32))),
    tenant=hashlib.sha256(b"tenant").digest()[:20],
    feed_id=hashlib.sha256(b"feed").digest()[:16],
)


def proof_of_entry(entry: bytes, *, log: Log = LOG) -> bytes:
    """A correctly signed file for a log of one entry, whatever that entry is."""
    checkpoint = log.checkpoint("1", b64(tree_root([entry])))
    return f"c2sp.org/tlog-proof@v1\nextra {b64(entry)}\nindex 0\n\n{checkpoint}".encode()


def reason_of(proof: bytes, vkey: str = LOG.vkey) -> str:
    with pytest.raises(Rejected) as caught:
        check(proof, vkey)
    return caught.value.reason


def one_byte_changes(proof: bytes) -> Iterator[tuple[str, bytes]]:
    """Every change of one byte that the sweep tries, with words that name it."""
    for at, byte in enumerate(proof):
        for mask in XOR_MASKS:
            yield f"byte {at} xor {mask:#04x}", proof[:at] + bytes([byte ^ mask]) + proof[at + 1 :]
        yield f"byte {at} deleted", proof[:at] + proof[at + 1 :]
    for at in range(len(proof) + 1):
        repeated = proof[max(at - 1, 0)]
        for byte in (*INSERTED, repeated):
            yield f"{byte:#04x} inserted at {at}", proof[:at] + bytes([byte]) + proof[at:]


def survivors(changes: Iterator[tuple[str, bytes]], vkey: str) -> list[str]:
    """The changes that the checker still accepts; anything but Rejected is let through as an error."""
    found = []
    for name, changed in changes:
        try:
            check(changed, vkey)
        except Rejected:
            continue
        found.append(name)
    return found


def test_the_trees_built_here_have_the_published_roots() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in KNOWN_LEAVES]
    assert {size: tree_root(leaves[:size]).hex() for size in KNOWN_ROOTS} == KNOWN_ROOTS


def test_the_signed_note_example_of_the_specification_verifies() -> None:
    key = checker.parse_vkey(NOTE_VKEY)
    assert (key.name, key.key_id.hex()) == ("example.com/foo", "530d903a")
    checker.check_signature(NOTE_LINE, NOTE_TEXT, key)
    with pytest.raises(Rejected):
        checker.check_signature(NOTE_LINE, NOTE_TEXT[:-1], key)


@pytest.mark.parametrize("size", SIZES)
def test_every_index_of_a_tree_is_accepted_with_its_facts(size: int) -> None:
    entries = LOG.entries(size)
    for index in range(size):
        assert check(LOG.proof(size, index), LOG.vkey) == Accepted(
            entry=entries[index],
            index=index,
            size=size,
            root=tree_root(entries),
            origin=LOG.origin,
        )


@pytest.mark.parametrize("size", SIZES)
def test_a_path_proves_no_other_index_and_no_other_size(size: int) -> None:
    entries = LOG.entries(size)
    root = tree_root(entries)
    for index in range(size):
        path = tree_path(index, entries)
        leaf = checker.leaf_hash(entries[index])
        for other in range(size + 1):
            if other != index:
                with pytest.raises(Rejected):
                    checker.check_inclusion(leaf, index=other, size=size, path=path, root=root)
        for bent in (path[:-1], path[1:], [*path, root], [root, *path], path[::-1]):
            if bent != path:
                with pytest.raises(Rejected):
                    checker.check_inclusion(leaf, index=index, size=size, path=bent, root=root)


def test_a_path_longer_than_the_tree_is_high_is_rejected_even_if_it_leads_to_the_root() -> None:
    root = hashlib.sha256(b"\x01" + bytes(32) + bytes(32)).digest()
    with pytest.raises(Rejected, match="too long"):
        checker.check_inclusion(bytes(32), index=0, size=1, path=[bytes(32)], root=root)


def test_an_index_in_an_empty_tree_is_rejected() -> None:
    with pytest.raises(Rejected, match="not below"):
        checker.check_inclusion(bytes(32), index=0, size=0, path=[], root=bytes(32))


@pytest.mark.parametrize(("size", "index"), SWEPT)
def test_every_one_byte_change_of_a_proof_is_rejected(size: int, index: int) -> None:
    assert survivors(one_byte_changes(LOG.proof(size, index)), LOG.vkey) == []


def test_every_other_value_of_every_byte_is_rejected() -> None:
    proof = LOG.proof(3, 2)
    changes = (
        (f"byte {at} as {value:#04x}", proof[:at] + bytes([value]) + proof[at + 1 :])
        for at, byte in enumerate(proof)
        for value in range(256)
        if value != byte
    )
    assert survivors(changes, LOG.vkey) == []


def test_every_cut_swap_and_repetition_is_rejected() -> None:
    proof = LOG.proof(13, 5)
    lines = proof.splitlines(keepends=True)
    bent = [(f"cut at {at}", proof[:at]) for at in range(len(proof))]
    for at in range(len(lines)):
        bent.append((f"line {at} dropped", b"".join(lines[:at] + lines[at + 1 :])))
        bent.append((f"line {at} doubled", b"".join([*lines[: at + 1], *lines[at:]])))
        for to in range(at):
            swapped = list(lines)
            swapped[at], swapped[to] = lines[to], lines[at]
            if swapped != lines:
                bent.append((f"lines {at} and {to} swapped", b"".join(swapped)))
    bent += [
        ("twice", proof + proof),
        ("CRLF", proof.replace(b"\n", b"\r\n")),
        ("BOM", b"\xef\xbb\xbf" + proof),
    ]
    assert survivors(iter(bent), LOG.vkey) == []
    assert "control character" in reason_of(proof.replace(b"\n", b"\r\n"))


def test_the_sweep_finds_a_checker_whose_base64_is_lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(text: bytes, *, bytes_count: int, name: str) -> bytes:
        try:
            return base64.b64decode(text)[:bytes_count]
        except ValueError as error:
            raise Rejected(name) from error

    monkeypatch.setattr(checker, "decode_base64", lenient)
    assert survivors(one_byte_changes(LOG.proof(7, 6)), LOG.vkey)


def test_the_sweep_finds_a_checker_that_believes_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(text: bytes, *, name: str) -> int:
        try:
            return int(text)
        except ValueError as error:
            raise Rejected(name) from error

    monkeypatch.setattr(checker, "decode_decimal", believe)
    assert any("0x30 inserted" in name for name in survivors(one_byte_changes(LOG.proof(7, 6)), LOG.vkey))


def test_a_key_of_another_log_or_of_the_same_name_is_rejected() -> None:
    proof = LOG.proof(5, 3)
    assert "signature line" in reason_of(proof, vkey_of(LOG.origin, SigningKey(bytes(32))))
    assert "origin line" in reason_of(proof, replace(LOG, feed_id=bytes(16)).vkey)
    assert "origin line" in reason_of(proof, NOTE_VKEY)


def test_a_forged_signature_under_the_right_key_id_is_rejected() -> None:
    forger = SigningKey(bytes(32))
    head, _, _ = LOG.proof(5, 3).rpartition("\u2014".encode())
    text = head.split(b"\n\n", 1)[1][:-1]
    key_id = checker.parse_vkey(LOG.vkey).key_id
    line = f"\u2014 {LOG.origin} {b64(key_id + forger.sign(text).signature)}\n"
    assert "does not verify" in reason_of(head + line.encode())


def test_a_second_signature_line_is_rejected_even_from_a_stranger() -> None:
    proof = LOG.proof(5, 3)
    own = proof[proof.rindex("\u2014".encode()) :]
    foreign = signature_line("witness.example", SigningKey(bytes(32)), "x").encode()
    for extra in (own, foreign):
        assert "exactly one" in reason_of(proof + extra)
    assert "exactly one" in reason_of(proof[: -len(own)] + foreign + own)
    assert "does not name" in reason_of(proof[: -len(own)] + foreign)


def test_signed_files_that_break_the_layout_are_rejected() -> None:
    entry = LOG.entry(0)
    root = tree_root([entry])
    head = f"c2sp.org/tlog-proof@v1\nextra {b64(entry)}\nindex 0\n\n"
    for size in ("01", "+1", "1 ", "1_0", "-1", "0", "\u0661", str(2**64 + 1)):
        assert "size" in reason_of((head + LOG.checkpoint(size, b64(root))).encode())
    for bad_root in (b64(root).rstrip("="), b64(root[:31]), b64(root + b"\0"), root.hex()):
        assert "root" in reason_of((head + LOG.checkpoint("1", bad_root)).encode())
    extended = LOG.checkpoint("1", b64(root) + "\nan extension line")
    assert "three lines" in reason_of((head + extended).encode())
    assert "origin line" in reason_of((head + LOG.checkpoint("1", b64(root), origin="x")).encode())
    without_extra = head.replace(f"extra {b64(entry)}\n", "") + LOG.checkpoint("1", b64(root))
    assert "missing" in reason_of(without_extra.encode())


def test_signed_entries_that_break_the_rules_of_the_application_are_rejected() -> None:
    entry = LOG.entry(0)
    assert check(proof_of_entry(entry), LOG.vkey).entry == entry
    assert "bytes, not 65" in reason_of(proof_of_entry(entry[:-1]))
    assert "bytes, not 65" in reason_of(proof_of_entry(entry + b"\0"))
    assert "bytes, not 65" in reason_of(proof_of_entry(b""))
    assert "feed id" in reason_of(proof_of_entry(bytes(16) + entry[16:]))
    assert "seq" in reason_of(proof_of_entry(LOG.entry(1)))


@dataclass(frozen=True)
class NamedLog(Log):
    """A log that signs everything correctly under an origin that breaks the rules."""

    name: str = ""

    @property
    def origin(self) -> str:
        return self.name


def test_a_correctly_signed_log_with_a_bent_origin_is_rejected() -> None:
    name = LOG.origin
    pad_bit_set = name[:-1] + ALPHABET[ALPHABET.index(name[-1]) | 1]
    bent = [name.upper(), name.replace("v1", "v2"), name.removeprefix("lognode.v1/"), name.replace("/", "//", 1)]
    bent += [name + "/", name + "0", name[:-1], name[:-1] + "u", pad_bit_set]
    for origin in bent:
        log = NamedLog(LOG.key, LOG.tenant, LOG.feed_id, name=origin)
        assert "origin" in reason_of(proof_of_entry(LOG.entry(0), log=log), log.vkey)


def test_every_one_byte_change_of_a_verifier_key_is_rejected() -> None:
    proof = LOG.proof(5, 3)
    for _, changed in one_byte_changes(LOG.vkey.encode()):
        reason_of(proof, changed.decode("latin-1"))


def test_a_bent_verifier_key_is_rejected() -> None:
    proof = LOG.proof(5, 3)
    name, key_id, encoded = LOG.vkey.split("+", 2)
    bent = ["", name, f"{name}+{key_id}", f"+{key_id}+{encoded}", f"{name}+00000000+{encoded}", f" {LOG.vkey}"]
    bent += [f"{LOG.vkey}\n", f"{LOG.vkey}=", LOG.vkey[:-4], f"{name}\udc80+{key_id}+{encoded}"]
    bent += [vkey_of(LOG.origin, LOG.key, kind=4), vkey_of("x" * 600, LOG.key)]
    for vkey in bent:
        assert "vkey" in reason_of(proof, vkey)


def test_an_entry_with_a_meaning_out_of_range_is_still_proven_to_be_in_the_log() -> None:
    entry = LOG.entry(0)[:24] + b"\xff" * 8 + b"\x07" + bytes(32)
    assert check(proof_of_entry(entry), LOG.vkey).entry == entry


def test_a_file_over_the_limit_is_rejected_before_it_is_read_further() -> None:
    assert "longer than" in reason_of(LOG.proof(5, 3) + b"\n" * checker.PROOF_BYTES_MAX)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checker.__file__), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_tells_accepted_rejected_and_misused_apart(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tlog-proof", tmp_path / "bad.tlog-proof"
    good.write_bytes(LOG.proof(5, 3))
    bad.write_bytes(LOG.proof(5, 3).replace(b"index 3", b"index 2"))
    accepted = run_command(str(good), LOG.vkey)
    assert accepted.returncode == 0
    assert accepted.stdout.splitlines()[:4] == ["accepted", f"origin {LOG.origin}", "index 3", "size 5"]
    rejected = run_command(str(bad), LOG.vkey)
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert rejected.stderr == "rejected: the entry's seq is not the index\n"
    assert run_command(str(good)).returncode == 2
    assert run_command(str(tmp_path / "absent"), LOG.vkey).returncode == 2
