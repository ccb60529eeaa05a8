"""How large a regular expression is as a program, before it is compiled.

RE2 never backtracks, but where its table of states overflows, each character of the text costs as much as the program
is long, and `(a{30}){30}` is nine hundred copies of `a`. Invariant: the size that is said here is no less than half of
what RE2 makes of the pattern.
"""

import re
from typing import Final

_COUNTED: Final = re.compile(r"\{(\d+)(,?)(\d*)\}")
_ANY_SIZE: Final = 12  # of what stands for any character, whose UTF-8 is a small program of its own
_PROPERTY_SIZE: Final = 600  # of \p{...}: some hundred ranges
_DEEP: Final = 32  # groups in groups


def program_size(pattern: str) -> int:
    """About how many instructions the pattern compiles to. Raises ValueError where groups do not match or nest deep."""
    size, end = _alternatives(pattern, 0, 0)
    if end != len(pattern):
        raise ValueError("a group ends that did not begin")
    return size + 1


def _alternatives(pattern: str, at: int, depth: int) -> tuple[int, int]:
    """The size of what begins at `at`, up to the end or the bracket that closes it, and that place."""
    if depth > _DEEP:
        raise ValueError(f"more than {_DEEP} groups in one another")
    total = 0
    while at < len(pattern) and pattern[at] != ")":
        size, at = _atom(pattern, at, depth)
        while at < len(pattern) and pattern[at] in "*+?{":
            counted = _COUNTED.match(pattern, at)
            if counted:
                size *= max(1, int(counted[3] or counted[1])) + 1
                at = counted.end()
            else:
                size += 1
                at += 1
        total += size
    return total, at


def _atom(pattern: str, at: int, depth: int) -> tuple[int, int]:
    letter = pattern[at]
    if letter == "(":
        size, at = _alternatives(pattern, at + 1, depth + 1)
        if at == len(pattern):
            raise ValueError("a group does not end")
        return size + 2, at + 1
    if letter == "[":
        return _class(pattern, at)
    if letter == "\\":
        return _escape(pattern, at)
    # In a case-insensitive pattern a letter is a class of some.
    return (_ANY_SIZE if letter == "." else 4 if not letter.isascii() else 2), at + 1


def _escape(pattern: str, at: int) -> tuple[int, int]:
    named = pattern[at + 1 : at + 2]
    if named == "Q":  # all up to \E is literal; nothing in it is repeated as a whole
        end = pattern.find("\\E", at)
        end = len(pattern) if end < 0 else end + 2
        return 4 * (end - at), end
    if named in {"p", "P"}:
        end = pattern.find("}", at) + 1 if pattern[at + 2 : at + 3] == "{" else at + 3
        return _PROPERTY_SIZE, end or len(pattern)
    return _ANY_SIZE, min(at + 2, len(pattern))


def _class(pattern: str, at: int) -> tuple[int, int]:
    """A class in brackets; a bracket that stands first in it is one of its characters."""
    start = at
    at += 2 if pattern[at + 1 : at + 2] == "^" else 1
    size, first = _ANY_SIZE, True
    while at < len(pattern) and (pattern[at] != "]" or first):
        first = False
        if pattern[at] == "\\":
            more, at = _escape(pattern, at)
            size += more
        elif pattern.startswith("[:", at) and ":]" in pattern[at:]:
            at = pattern.index(":]", at) + 2
            size += _ANY_SIZE
        else:
            size += 1 if pattern[at].isascii() else 4
            at += 1
    if at >= len(pattern):
        raise ValueError(f"the class at {start + 1} does not end")
    return size, at + 1
