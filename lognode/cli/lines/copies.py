"""From spans as JSON to the drafts of their copies: what is made of an export, a bundle, or a timeline replayed.

Knows no files. Invariant: a copy holds everything that the author said, names its origin, and has a key made from the
id of what was recorded first, so that a tenant takes it once, however many nodes it came through.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from lognode.cli.lines.rehearsal import DryKeys
from lognode.core.codec import check_keys, check_value
from lognode.core.draft import origin_in, parse_json_draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import parse_span_id
from lognode.core.span import is_control, is_reserved

# What a span has and no draft: its place.
PLACE: Final = frozenset({"id", "feed", "seq", "leaf"})
_SPAN_MARK: Final = b'"leaf"'
_DRAFT_ONLY: Final = ("idempotency_key", "origin")
_LISTS: Final = ("tags", "related")  # empty ones say nothing, unlike the empty array that data or metadata may be
_TOLD: Final = (
    "kind", "title", "data", "tags", "subject", "contract_id", "workflow_id", "flow_id", "related", "metadata",
    "visibility", "status", "caused_by", "actor",
)  # fmt: skip

_COPY_KEY: Final = re.compile(rb'"idempotency_key":"copy:([0-9a-z]+)"}$')

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class LeftOut(NamedTuple):
    """Why a span is not copied, as in `LEFT_OUT`."""

    reason: str


# In words, one span and several.
LEFT_OUT: Final[Mapping[str, tuple[str, str]]] = {
    "control": ("control span", "control spans"),
    "reserved": ("span that only nodes write", "spans that only nodes write"),
    "body_missing": ("span without its body", "spans without their bodies"),
    "body_malformed": ("span with a malformed body", "spans with malformed bodies"),
    "unseen": ("span whose content is not there", "spans whose content is not there"),
    "replay": ("replay", "replays"),
    "same_run": ("replay of this run", "replays of this run"),
}


class Imports:
    """Makes drafts of the lines of an NDJSON file: exported spans become copies, drafts stay as they are.

    `tenant` is asked for the id of the tenant that takes them, `is_held` whether it has the span with an id. In a dry
    run, which writes nothing, what came before under the same key is there already.
    """

    def __init__(self, tenant: Callable[[], str], is_held: Callable[[str], bool], *, is_dry: bool = False) -> None:
        self._tenant = tenant
        self._is_held = is_held
        self._dry_keys = DryKeys() if is_dry else None

    def draft(self, line: bytes) -> bytes | LeftOut | None:
        """The line to send; None for a span that the tenant recorded itself.

        Raises CallerError("draft.invalid") for a line that is neither a draft nor an exported span.
        """
        span = exported_span(line)
        return self._unless_sent(line) if span is None else self.copy(span, "import")

    def copy(self, span: Mapping[str, Any], way: Literal["import", "bundle"]) -> bytes | LeftOut | None:
        """The line to send for a span as an export shows it; None for one that the tenant recorded itself.

        Raises what parse_json_draft does for one that is not sent, which nobody else would look at.
        """
        reason = left_out(span)
        if reason is not None:
            return LeftOut(reason)
        origin = origin_of_copy(span, span["tenant"], way)
        line = copy_line(span, origin, key=f"copy:{origin['id']}")
        if span["tenant"] == self._tenant():
            named = span["id"]
        elif origin["tenant"] == self._tenant():
            named = origin["id"]
        else:
            return self._unless_sent(line)
        if not self._is_held(named):
            return self._unless_sent(line)
        parse_json_draft(line)
        return None

    def _unless_sent(self, line: bytes) -> bytes | None:
        if self._dry_keys is None:
            return line
        try:
            return line if self._dry_keys.is_new(line) else None
        except CallerError as error:
            error.extra["line"] = 1
            tell_conflict(error, [line])
            raise


def exported_span(line: bytes) -> dict[str, Any] | None:
    """The span that a line of an export holds; None for any other line, which may be a draft.

    Raises CallerError draft.invalid, id.malformed, json.duplicate_key or json.*.
    """
    if _SPAN_MARK not in line:
        return None
    try:
        span = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the node says what is wrong with it
    if not isinstance(span, dict) or not PLACE.intersection(span):
        return None
    check_keys(line, len(span) + sum(map(check_value, span.values())))
    lacking = ", ".join(sorted(PLACE.difference(span)))
    if lacking:
        raise CallerError("draft.invalid", f"it is neither a draft nor an exported span, which has {lacking} as well")
    both = [name for name in _DRAFT_ONLY if name in span]
    if both:
        raise CallerError("draft.invalid", f"it has the place of a span, and {both[0]!r} as only a draft does")
    if not isinstance(span.get("tenant"), str):
        raise CallerError("draft.invalid", "the span does not say its tenant; 'lognode export' writes lines that do")
    if not isinstance(span["id"], str) or not isinstance(span.get("kind"), str):
        raise CallerError("draft.invalid", "id and kind of a span are text")
    try:
        parse_span_id(span["id"])
    except CallerError as error:
        raise CallerError(error.code, error.detail, place="id") from None
    return span


def left_out(span: Mapping[str, Any]) -> str | None:
    """Why a span cannot be copied: a key of LEFT_OUT; None where it can."""
    if is_control(span["kind"]):
        return "control"
    if is_reserved(span["kind"]):
        return "reserved"
    return f"body_{span['body']}" if span.get("body") in {"missing", "malformed"} else None


def origin_of_copy(
    span: Mapping[str, Any], tenant: str, way: Literal["import", "bundle", "replay"], run: str = ""
) -> dict[str, Any]:
    """The origin of a copy of a span of `tenant`: the first one of what it is a copy of, else the span itself.

    A replay is recorded where it is made, so what is taken of it elsewhere is a copy of the replay.
    """
    first = origin_in(span.get("annotations"))
    if first is not None and (first.way != "replay" or way == "replay"):
        passed: dict[str, Any] = msgspec.to_builtins(first.passed_on(span["id"], way, run))
        return passed
    told = {name: span.get(name) for name in ("id", "at", "node", "feed", "seq", "actor_signed")}
    return {**told, "tenant": tenant, "as": way, **({"run": run} if run else {})}


def copy_line(span: Mapping[str, Any], origin: Mapping[str, Any], *, key: str) -> bytes:
    """The draft of a copy of a span, as a line."""
    draft = {name: span[name] for name in _TOLD if span.get(name) is not None and (span[name] or name not in _LISTS)}
    return _encode({**draft, "origin": origin, "idempotency_key": key})


def tell_conflict(error: LognodeError, lines: Sequence[bytes]) -> None:
    """Where a line was refused for its key, and is a copy's, let the error name the copy: nobody has seen that key."""
    line = error.extra.get("line")
    if error.code == "idempotency.mismatch" and isinstance(line, int) and 1 <= line <= len(lines):
        copy = _COPY_KEY.search(lines[line - 1])
        if copy is not None:
            error.detail = f"a copy of {copy[1].decode()} is there, and its content is not that of this one"
