"""Paths, templates and durations: the small languages inside the texts of a rule.

Knows the facts, not the rule that reads them. Errors say at which character of the text, and what was meant.
"""

import re
from collections.abc import Mapping
from json import loads
from typing import Final

from lognode.core.limits import RULE_PATH_BYTES_MAX, RULE_PATH_SEGMENTS_MAX, RULE_TEMPLATE_PARTS_MAX
from lognode.rules.document import FACTS, NOTE_SHAPES, SPAN_FACTS, Path, Shape, Template, Text
from lognode.rules.grammar.faults import did_you_mean, shortened

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
    |\[(?P<index>0|[1-9][0-9]{0,5})\]
    |\[(?P<quoted>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")\]
    |\['(?P<single>[^'\\\x00-\x1f]*)'\]""",
    re.VERBOSE,
)
_REFERENCE_END: Final = re.compile(r"""(?:[^{}"']|"(?:[^"\\]|\\.)*"|'[^']*')*""")
_UNITS_MS: Final[Mapping[str, int]] = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000,
}  # fmt: skip
_DURATION_PART: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
# Facts of another span, such as last.account.data.state: those of the span itself, and when it was written.
LAST_FACTS: Final[Mapping[str, Shape]] = {**SPAN_FACTS, "time": Shape.TIME}


class NotWell(ValueError):
    """A text of one of these languages that is none: where in it, why, and a suggestion."""

    def __init__(self, code: str, offset: int, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.offset = offset
        self.message = message
        self.suggestion = suggestion


def read_path(text: str, facts: Mapping[str, Shape] = FACTS) -> Path:
    """The path that a text is, which begins with one of `facts`. Raises NotWell."""
    return _path(text, facts, 0)


def _path(text: str, facts: Mapping[str, Shape], base: int) -> Path:
    if len(text.encode()) > RULE_PATH_BYTES_MAX:
        raise NotWell("rule.bad_path", base, f"a path has at most {RULE_PATH_BYTES_MAX} bytes")
    first = _NAME.match(text)
    if not first:
        known = did_you_mean(text.strip(), facts)
        raise NotWell("rule.bad_path", base, f"{shortened(text)} is no path: it begins with a fact", known)
    segments: list[str | int] = [first[0]]
    offsets = [base]
    index = first.end()
    while index < len(text):
        step = _STEP.match(text, index)
        if not step:
            raise NotWell("rule.bad_path", base + index, *_advice(text, index))
        offsets.append(base + index)
        segments.append(_segment(step))
        index = step.end()
    if len(segments) > RULE_PATH_SEGMENTS_MAX:
        raise NotWell("rule.bad_path", base, f"a path has at most {RULE_PATH_SEGMENTS_MAX} segments")
    try:
        str(text).encode()
        "".join(str(segment) for segment in segments).encode()
    except UnicodeEncodeError:
        raise NotWell("rule.bad_path", base, "half a character, which UTF-8 cannot hold") from None
    _check_shape(segments, offsets, facts)
    return Path(tuple(segments))


def _segment(step: re.Match[str]) -> str | int:
    if step["name"] is not None:
        return step["name"]
    if step["index"] is not None:
        return int(step["index"])
    return str(loads(step["quoted"])) if step["quoted"] is not None else step["single"]


def _advice(text: str, index: int) -> tuple[str, str]:
    """What is wrong with a path at a character, and what to write."""
    rest = text[index:]
    number = re.match(r"\.([0-9]+)", rest)
    if number:
        return f"{shortened(number[0])} is no segment", f"write [{number[1]}] for the place in a list"
    word = re.match(r"\.?([^.\[\]\"'{}]+)", rest)
    if rest.startswith(".") and word:
        return f"{shortened(word[0])} is no segment", f'quote it: ["{word[1]}"]'
    if rest.startswith("["):
        return f"{shortened(rest)} is no segment", 'write ["a b"] for a key, [0] for a place in a list'
    return f"a path goes on with '.' or '[', not {shortened(rest)}", 'write data.client or data["a b"]'


def _check_shape(segments: list[str | int], offsets: list[int], facts: Mapping[str, Shape]) -> None:
    """Refuse what leads nowhere, whatever the span. Raises NotWell."""
    name = str(segments[0])
    shape = facts.get(name)
    if shape is None:
        if name in FACTS:
            known = "a window and a subject are of what the span itself says"
            raise NotWell("rule.bad_path", offsets[0], f"{name!r} cannot be read here", known)
        raise NotWell("rule.bad_path", offsets[0], f"there is no fact {name!r}", did_you_mean(name, facts))
    rest, places = segments[1:], offsets[1:]
    if shape is Shape.NAMED:
        _check_named(name, rest, [*places, offsets[0]])
    elif shape is Shape.NOTES and rest:
        inner = NOTE_SHAPES.get(str(rest[0]))
        if inner is None:
            known = did_you_mean(str(rest[0]), NOTE_SHAPES)
            raise NotWell("rule.bad_path", places[0], f"there is no {name}.{rest[0]}", known)
        _check_below(f"{name}.{rest[0]}", inner, rest[1:], places[1:])
    else:
        _check_below(name, shape, rest, places)


def _check_named(name: str, rest: list[str | int], places: list[int]) -> None:
    """Refuse vars, windows and last without a name, and what can stand below none of them."""
    if not rest or isinstance(rest[0], int):
        raise NotWell("rule.bad_path", places[0], f"{name!r} goes on with a name that is declared", f"{name}.NAME")
    if name == "last" and len(rest) > 1:
        fact = str(rest[1])
        if fact not in LAST_FACTS:
            known = did_you_mean(fact, LAST_FACTS)
            raise NotWell("rule.bad_path", places[1], f"a last span has no {fact!r}", known)
        _check_below(f"last.{rest[0]}.{fact}", LAST_FACTS[fact], rest[2:], places[2:])
    elif name != "last":
        _check_below(f"{name}.{rest[0]}", Shape.NUMBER, rest[1:], places[1:])


def _check_below(name: str, shape: Shape, rest: list[str | int], places: list[int]) -> None:
    if not rest or shape is Shape.TREE or (shape is Shape.TEXTS and len(rest) == 1 and isinstance(rest[0], int)):
        return
    if shape is Shape.TEXTS:
        raise NotWell("rule.bad_path", places[0], f"{name!r} is a list of texts", "write [0] for its first one")
    raise NotWell("rule.bad_path", places[0], f"{name!r} is a single value, nothing is below it", f"write {name}")


def read_template(text: str) -> tuple[Text, tuple[tuple[int, Path], ...]]:
    """The text that a template is, and the paths in it with where they begin. Raises NotWell."""
    parts: list[str | Path] = []
    paths: list[tuple[int, Path]] = []
    literal, index = "", 0
    while index < len(text):
        char = text[index]
        if char in "{}" and text[index + 1 : index + 2] == char:
            literal += char
            index += 2
        elif char == "}":
            raise NotWell("rule.bad_template", index, "a '}' without its '{'", "write }} for a brace")
        elif char == "{":
            path, stop = _reference(text, index)
            paths.append((index + 1, path))
            parts += [literal, path] if literal else [path]
            literal, index = "", stop
        else:
            stop = min((at for at in (text.find("{", index), text.find("}", index)) if at >= 0), default=len(text))
            literal += text[index:stop]
            index = stop
    if len(paths) > RULE_TEMPLATE_PARTS_MAX:
        raise NotWell("rule.bad_template", 0, f"a text has at most {RULE_TEMPLATE_PARTS_MAX} references")
    if not paths:
        return literal, ()
    return Template(tuple([*parts, literal] if literal else parts)), tuple(paths)


def _reference(text: str, start: int) -> tuple[Path, int]:
    """The path of a reference that begins at `start`, and where the text goes on."""
    inside = _REFERENCE_END.match(text, start + 1)
    stop = inside.end() if inside else start + 1
    if text[stop : stop + 1] != "}":
        raise NotWell("rule.bad_template", start, "a '{' without its '}'", "write {{ for a brace")
    path = text[start + 1 : stop]
    if not path.strip():
        raise NotWell("rule.bad_template", start, "an empty reference", "write {PATH}, or {{}} for braces")
    return _path(path, FACTS, start + 1), stop + 1


def read_duration_ms(text: str) -> int:
    """The milliseconds of a duration such as 90s, 5m or 1h30m. Raises NotWell."""
    index = total = 0
    last_ms = max(_UNITS_MS.values()) + 1
    while index < len(text):
        part = _DURATION_PART.match(text, index)
        if not part or _UNITS_MS[part[2]] >= last_ms:
            break
        last_ms = _UNITS_MS[part[2]]
        total += int(part[1]) * last_ms
        index = part.end()
    if index < len(text) or not text:
        hint = f"write {text}s for seconds, {text}m for minutes" if text.isdigit() else "write 90s, 5m, 1h30m or 7d"
        raise NotWell("rule.bad_duration", index, f"{shortened(text)} is no duration", hint)
    return total


def duration_text(ms: int) -> str:
    """A duration as people write it."""
    text = ""
    for unit, size in sorted(_UNITS_MS.items(), key=lambda item: -item[1]):
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
