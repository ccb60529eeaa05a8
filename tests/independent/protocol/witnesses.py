"""Cosignatures and the policies that ask for them. From docs/protocol.md, Cosignatures, Policies and Merges."""

import re
from dataclasses import dataclass, field

from tests.independent.protocol.cbor import Refused, need, read_array
from tests.independent.protocol.fields import (
    INT63,
    as_bytes,
    as_int,
    as_list,
    as_rising,
    sha256,
    signed_by,
    unbase64,
)
from tests.independent.protocol.notes import LOG, WITNESS, Checkpoint, Key, cosigned, read_checkpoint, split_note

MERGED_MAX = 1_024
POLICY_BYTES_MAX = 1_048_576
LINES_MAX = 10_000
NUMBER = re.compile("[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True)
class Merged:
    feed: bytes
    size: int
    root: bytes
    time_s: int
    signature: bytes


def read_merge(data: bytes) -> list[Merged]:
    """What a merge names. Raises Refused where its data has not the form."""
    items = [as_list(item) for item in read_array(data)]
    need(1 <= len(items) <= MERGED_MAX and all(len(item) == 5 for item in items), "no merge")
    as_rising([as_bytes(item[0], 16) for item in items])
    return [
        Merged(as_bytes(feed), as_int(size, 1), as_bytes(root, 32), as_int(time), as_bytes(signature, 64))
        for feed, size, root, time, signature in items
    ]


@dataclass
class Group:
    name: str
    least: int
    members: list[str]


@dataclass
class Policy:
    logs: list[Key] = field(default_factory=list)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    def judge(self, note: bytes) -> tuple[dict[str, int], bool]:
        """When which witnesses have cosigned a checkpoint, and whether it is valid."""
        text, lines = split_note(note)
        checkpoint = read_checkpoint(text)
        is_logged = any(
            name == key.name and data[:4] == key.key_id and signed_by(key.public, text.encode(), data[4:])
            for key in self.logs
            for name, data in lines
            if key.kind == LOG and key.name == checkpoint.origin
        )
        found = {name: time for name, key in self.witnesses.items() if (time := _cosigned(key, checkpoint, lines))}
        return found, is_logged and (self.quorum == "none" or self._is_met(self.quorum or "", found))

    def _is_met(self, name: str, found: dict[str, int]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in found
        return sum(self._is_met(member, found) for member in group.members) >= group.least


def _cosigned(key: Key, checkpoint: Checkpoint, lines: list[tuple[str, bytes]]) -> int | None:
    for name, data in lines:
        if key.kind == WITNESS and name == key.name and data[:4] == key.key_id and len(data) == 76:
            time = int.from_bytes(data[4:12], "big")
            if time <= INT63 and signed_by(key.public, cosigned(checkpoint, time), data[12:]):
                return time
    return None


def read_policy(raw: bytes) -> Policy:
    need(len(raw) <= POLICY_BYTES_MAX, "a policy that is too long")
    policy, members = Policy(), set[str]()
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Refused("text that is not UTF-8") from error
    need(len(lines) <= LINES_MAX + 1, "too many lines")
    for line in lines:
        need(not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line), "a control character")
        words = line.split()
        if words and not words[0].startswith("#"):
            _read_line(policy, members, words)
    need(policy.quorum is not None, "no quorum")
    return policy


def _read_line(policy: Policy, members: set[str], words: list[str]) -> None:
    keyword, *rest = words
    named = policy.witnesses.keys() | policy.groups.keys() | {"none"}
    if keyword == "log" and len(rest) in (1, 2):
        key = _key(rest[0])
        need(key not in policy.logs, "a key twice")
        policy.logs.append(key)
    elif keyword == "witness" and len(rest) in (2, 3):
        key = _key(rest[1])
        need(rest[0] not in named and key not in policy.witnesses.values(), "a name or key that is taken")
        policy.witnesses[rest[0]] = key
    elif keyword == "group" and len(rest) >= 3:
        name, least, *inside = rest
        need(name not in named and set(inside) <= named - {"none"}, "a name that is taken, or an unknown member")
        need(len(set(inside)) == len(inside) and not members & set(inside), "a member twice")
        counts = {"all": len(inside), "any": 1}
        need(least in counts or (NUMBER.fullmatch(least) and int(least) <= len(inside)), "no such number")
        members.update(inside)
        policy.groups[name] = Group(name, counts.get(least) or int(least), inside)
    else:
        need(keyword == "quorum" and len(rest) == 1 and policy.quorum is None, "no line of a policy")
        need(rest[0] in named, "an unknown quorum")
        policy.quorum = rest[0]


def _key(text: str) -> Key:
    """A verifier key of any kind."""
    name, _, rest = text.partition("+")
    key_id, _, typed = rest.partition("+")
    data = unbase64(typed)
    need(name and data and sha256(name.encode(), b"\n", data)[:4].hex() == key_id, "no verifier key")
    return Key(name, data[:1], data[1:])
