"""Which logs and witnesses somebody trusts, and how many of these have to have cosigned: a C2SP tlog-policy.

Owns the text of a policy and its judgement. Must not know of nodes or members. Invariant: what is not understood counts
for nobody: a key of another kind has signed nothing, and an unknown line is a mistake.
Source: C2SP tlog-policy; docs/protocol.md, Policies.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.limits import POLICY_BYTES_MAX, POLICY_LINES_MAX
from lognode.timeline.proof.checkpoint import COSIGNER, ED25519, Note, decode_base64, key_id
from lognode.timeline.proof.cosignature import Cosignature, is_cosigned, read_cosignature

_FORBIDDEN: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_BLANKS: Final = re.compile(r"[ \t]+")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,5}")
_NONE: Final = "none"
# Octets that are no ASCII mean nothing, so each is a character of its own.
_OCTETS: Final = "latin-1"


class Key(NamedTuple):
    """A verifier key: `public` is None where its kind is none that is known here."""

    name: str
    public: bytes | None


class Group(NamedTuple):
    """At least so many of these witnesses and groups."""

    least: int
    members: tuple[str, ...]


class Policy(NamedTuple):
    """Logs, witnesses and groups by name, each group behind its members, and the one that has to be met, if any."""

    logs: tuple[Key, ...]
    witnesses: Mapping[str, Key]
    groups: Mapping[str, Group]
    quorum: str | None

    def judge(self, note: Note) -> tuple[dict[str, Cosignature], bool]:
        """The cosignatures of a checkpoint, by the policy's names of witnesses; whether its quorum is met."""
        found = {name: held for name, key in self.witnesses.items() if (held := _cosignature(note, key))}
        met = set(found)
        for name, group in self.groups.items():
            if len(met.intersection(group.members)) >= group.least:
                met.add(name)
        return found, self.quorum is None or self.quorum in met


def _cosignature(note: Note, key: Key) -> Cosignature | None:
    """The newest valid cosignature of a witness."""
    if key.public is None:
        return None
    found = [read_cosignature(line, key.name, key.public) for line in note.signatures]
    valid = [held for held in found if held is not None and is_cosigned(note.text, held)]
    return max(valid, key=lambda held: held.time_s, default=None)


def parse_policy(raw: bytes) -> Policy:
    """The policy in a file. Raises CallerError("policy.malformed"), with the line as place."""
    if len(raw) > POLICY_BYTES_MAX:
        raise CallerError("policy.malformed", f"{len(raw)} bytes, at most {POLICY_BYTES_MAX}")
    lines = raw.split(b"\n")
    if len(lines) > POLICY_LINES_MAX:
        raise CallerError("policy.malformed", f"{len(lines)} lines, at most {POLICY_LINES_MAX}")
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        fault = "a control character" if _FORBIDDEN.search(line) else reader.read(line.decode(_OCTETS))
        if fault:
            raise CallerError("policy.malformed", fault, place=f"line {number}")
    if not reader.has_quorum:
        raise CallerError("policy.malformed", "no quorum line")
    return Policy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


def policy_text(logs: Sequence[str], witnesses: Mapping[str, str], least: int) -> str:
    """A policy by which each of these logs, given as verifier keys, needs `least` of these witnesses, by name."""
    lines = [f"log {log}" for log in logs]
    lines += [f"witness {name} {key}" for name, key in witnesses.items()]
    lines += [f"group members {least} {' '.join(witnesses)}", "quorum members"] if least else [f"quorum {_NONE}"]
    return "\n".join([*lines, ""])


class _Reader:
    """A policy as far as it was read."""

    def __init__(self) -> None:
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.has_quorum = False
        self._keys: dict[str, set[bytes]] = {"log": set(), "witness": set()}
        self._members: set[str] = set()

    def read(self, line: str) -> str | None:
        """Take a line; what is wrong with it, if anything is."""
        words = _BLANKS.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            return None
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                return self._read_key("log", None, vkey)
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                return self._fault_of_name(name) or self._read_key("witness", name, vkey)
            case ["group", name, least, first, *more]:
                return self._fault_of_name(name) or self._read_group(name, least, (first, *more))
            case ["quorum", name]:
                return self._read_quorum(name)
        return f"{line[:80]!r} is no line of a policy"

    def _fault_of_name(self, name: str) -> str | None:
        is_taken = name == _NONE or name in self.witnesses or name in self.groups
        return f"the name {name[:80]!r} is taken" if is_taken else None

    def _read_key(self, sort: str, name: str | None, vkey: str) -> str | None:
        parsed = _parse_key(vkey, COSIGNER if name is not None else ED25519)
        if parsed is None:
            return f"{vkey[:80]!r} is no verifier key"
        key, material = parsed
        if material in self._keys[sort]:
            return f"another {sort} has this key"
        self._keys[sort].add(material)
        if name is None:
            self.logs.append(key)
        else:
            self.witnesses[name] = key
        return None

    def _read_group(self, name: str, least: str, members: Sequence[str]) -> str | None:
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                return f"{member[:80]!r} is defined in no line before"
            if member in self._members:
                return f"{member[:80]!r} is a member twice"
            self._members.add(member)
        words = {"all": len(members), "any": 1}
        count = words.get(least) or (int(least) if _COUNT.fullmatch(least) else 0)
        if not 1 <= count <= len(members):
            return f"{least[:80]!r} is not all, any, or a number from 1 to {len(members)}"
        self.groups[name] = Group(count, tuple(members))
        return None

    def _read_quorum(self, name: str) -> str | None:
        if self.has_quorum:
            return "a second quorum"
        if name != _NONE and name not in self.witnesses and name not in self.groups:
            return f"{name[:80]!r} is defined in no line before"
        self.has_quorum = True
        self.quorum = None if name == _NONE else name
        return None


def _parse_key(text: str, kind: bytes) -> tuple[Key, bytes] | None:
    """A verifier key, and the key material in it; None where `text` is none.

    Names are UTF-8 where they are no ASCII, as in notes.
    """
    try:
        name, short, encoded = text.encode(_OCTETS).decode().split("+", 2)
    except (UnicodeDecodeError, ValueError):
        return None
    material = decode_base64(encoded)
    if not name or not material or short != key_id(name, material[:1], material[1:]).hex():
        return None
    is_known = material[:1] == kind and len(material) == 1 + 32
    return Key(name, material[1:] if is_known else None), material[1:]
