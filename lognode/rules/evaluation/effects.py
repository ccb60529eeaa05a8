"""What a rule that fired does: its actions with all templates filled in, within bounds.

A verdict stands whatever else does not fit: an action that breaks a bound is dropped alone, and the step says so. So
nobody evades a rejection by a long text beside it. Invariant: the effects of one span are bounded in number and bytes.
"""

from typing import Any

import msgspec

from lognode.core.limits import (
    EFFECT_BYTES_MAX,
    EFFECTS_BYTES_MAX,
    EFFECTS_MAX,
    HOPS_MAX,
    NOTES_BYTES_MAX,
    TAGS_MAX,
)
from lognode.rules import document
from lognode.rules.conditions.templates import Values, fill_text, fill_value
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.conditions.weight import weight_of
from lognode.rules.document import Action, Text, Value
from lognode.rules.evaluation.decision import Deed, Notes, Scheduled
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.samples import moment_ms


class Dropped(Exception):
    """An action that is not done; the message says why."""


class Room:
    """What is left for the effects of one span."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self._effects = EFFECTS_MAX
        self._bytes = EFFECTS_BYTES_MAX

    def deed(self, action: Action, values: Values, facts: Facts) -> Deed:
        """The action, filled in. Raises Dropped."""
        if isinstance(action, document.GateAction):
            return _verdict(action, values)
        if not self._effects:
            raise Dropped(f"more than {EFFECTS_MAX} effects on one span")
        try:
            deed = self._filled(action, values, facts)
        except Unclear as unclear:
            raise Dropped(str(unclear)) from None
        if isinstance(deed, document.AddTag | document.SetMetadata | document.MarkProcessed | document.Note):
            self._note(deed)
        else:
            self._bytes -= _weigh(msgspec.to_builtins(deed), min(EFFECT_BYTES_MAX, self._bytes))
        self._effects -= 1
        return deed

    def _note(self, deed: Deed) -> None:
        notes = noted(self.notes, deed)
        if len(notes.tags) > TAGS_MAX:
            raise Dropped(f"more than {TAGS_MAX} tags by rules")
        _weigh([list(notes.tags), notes.metadata, list(notes.notes)], NOTES_BYTES_MAX)
        self.notes = notes

    def _filled(self, action: Action, values: Values, facts: Facts) -> Deed:
        match action:
            case document.AddTag(tags):
                return document.AddTag(tuple(tag for text in tags if (tag := fill_text(text, values))))
            case document.SetMetadata(entries):
                return document.SetMetadata(tuple((key, _bounded(said, values)) for key, said in entries))
            case document.MarkProcessed():
                return action
            case document.Note(text):
                return document.Note(fill_text(text, values))
            case document.Emit():
                return _emit(action, values, facts)
            case document.Notify():
                return _notify(action, values)
            case document.Schedule():
                return _schedule(action, values, facts)
        raise AssertionError(f"{action} is no action")


def noted(notes: Notes, deed: Deed) -> Notes:
    """The notes with what a deed adds; later metadata replaces earlier of the same key."""
    match deed:
        case document.AddTag(tags):
            return msgspec.structs.replace(notes, tags=tuple(dict.fromkeys((*notes.tags, *map(str, tags)))))
        case document.SetMetadata(entries):
            return msgspec.structs.replace(notes, metadata={**notes.metadata, **dict(entries)})
        case document.MarkProcessed():
            return msgspec.structs.replace(notes, processed=True)
        case document.Note(text):
            return msgspec.structs.replace(notes, notes=(*notes.notes, str(text)))
    return notes


def _weigh(value: Any, bytes_max: int) -> int:
    """About how many bytes a value takes. Raises Dropped beyond `bytes_max`."""
    size = weight_of(value, bytes_max)
    if size > bytes_max:
        raise Dropped(f"more than {bytes_max} bytes")
    return size


def _verdict(action: Action, values: Values) -> Deed:
    """A verdict, whose text is what can be told of it."""
    try:
        text = fill_text(action.text, values)  # type: ignore[union-attr]
    except Unclear as unclear:
        text = str(unclear)
    return msgspec.structs.replace(action, text=text)  # type: ignore[return-value]


def _bounded(value: Value, values: Values) -> Any:
    """A value filled in. What stands at a path is measured before it is taken over."""
    filled = fill_value(value, values)
    _weigh(filled, EFFECT_BYTES_MAX)
    return filled


def _maybe(text: Text | None, values: Values) -> str | None:
    """A text, None where it is absent or comes to nothing."""
    return None if text is None else fill_text(text, values) or None


def _emit(action: document.Emit, values: Values, facts: Facts) -> document.Emit:
    if facts.hops >= HOPS_MAX:
        raise Dropped(f"{facts.hops} rules in a row made spans that set off the next, at most {HOPS_MAX}")
    tags = {tag for text in action.tags if (tag := fill_text(text, values))}
    if len(tags) > TAGS_MAX:
        raise Dropped(f"more than {TAGS_MAX} tags")
    return document.Emit(
        action.kind,
        _maybe(action.title, values),
        _bounded(action.data, values),
        tuple(sorted(tags)),
        _maybe(action.subject, values),
        _maybe(action.contract_id, values),
        _maybe(action.workflow_id, values),
        _maybe(action.flow_id, values),
        _bounded(action.metadata, values),
        action.visibility,
    )


def _notify(action: document.Notify, values: Values) -> document.Notify:
    return document.Notify(action.webhook, fill_text(action.text, values), _bounded(action.data, values))


def _schedule(action: document.Schedule, values: Values, facts: Facts) -> Scheduled:
    due_ms = None
    if action.after_ms is not None:
        due_ms = facts.time_ms + action.after_ms
    elif action.at is not None:
        due_ms = moment_ms(values.read(action.at))
        if due_ms is None:
            raise Dropped(f"{action.at} is no time")
    what = _emit(action.what, values, facts) if isinstance(action.what, document.Emit) else _notify(action.what, values)
    return Scheduled(fill_text(action.name, values), what, due_ms, action.cron, action.missed)
