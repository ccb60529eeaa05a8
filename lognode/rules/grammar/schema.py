"""The JSON Schema of rule documents, by which editors check and complete them.

It says what a schema can: keys, types, bounds, words. What needs more, such as names that are declared, expressions and
circles, only `read_rule_set` finds. Invariant: whatever `read_rule_set` takes, the schema takes.
"""

from typing import Any, Final

from lognode.core.limits import (
    RULE_ACTIONS_MAX,
    RULE_APPROVALS_MAX,
    RULE_CRON_CHARS_MAX,
    RULE_DEPENDENCIES_MAX,
    RULE_KINDS_MAX,
    RULE_LAST_MAX,
    RULE_NAME_CHARS_MAX,
    RULE_PARTS_MAX,
    RULE_PATH_BYTES_MAX,
    RULE_PRIORITY_MAX,
    RULE_VARIABLES_MAX,
    RULE_WINDOWS_MAX,
    RULES_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
)
from lognode.core.span import VISIBILITIES
from lognode.rules.document import FACTS
from lognode.rules.grammar.shapes.actions import APPROVAL_ROLES, MISSED
from lognode.rules.grammar.shapes.rules import PHASES, RUNS

_Schema = dict[str, Any]
_NAME: Final = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$", "maxLength": RULE_NAME_CHARS_MAX}
_KEYS: Final = {"pattern": "^[a-z_][a-z0-9_]*$", "maxLength": RULE_NAME_CHARS_MAX}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX}
_REFERENCE: Final = {"type": "string", "pattern": r"^\{.*\}$"}

# What editors show beside a key.
_MEANINGS: Final = {
    "id": "The rule's name, unique in the set",
    "on": "draft: gates what is about to be written; commit: reacts to what was written",
    "run": "author: on the node that wrote the span; each: on every node that holds it",
    "kinds": "order.paid, or order.* for all that begin so; without it every kind but those that nodes write",
    "priority": "Low first; 100 without it",
    "depends_on": "Rules of this set that have to fire for the same span",
    "windows": "What is counted over the last minutes or days; read as windows.NAME",
    "last": "The newest spans of subjects; read as last.NAME.data",
    "if": "A condition; without it the rule fires for every span of its kinds",
    "then": "What the rule does",
    "over": "How far the window looks back, such as 5m",
    "by": "The path of what is counted apart, such as data.client",
    "at": "commit, or the path of a time",
    "sum": "The path of a number to add up",
    "distinct": "The path of values to tell apart",
    "always": "Holds for every span",
    "all": "Each of these conditions holds",
    "any": "One of these conditions holds",
    "not": "The condition does not hold",
    "equals": "At each path stands just that value",
    "not_equals": "At each path stands something else, or nothing",
    "exists": "At each path stands something",
    "missing": "At each path stands nothing",
    "contains_text": "The text at each path has that text in it",
    "contains_tag": "The span has each tag",
    "greater_than": "At each path stands a greater number",
    "less_than": "At each path stands a smaller number",
    "when": "A CEL expression that comes to true",
    "allow": "Allow the draft, and say so",
    "reject": "Refuse the draft, with this text",
    "simulate": "Write the span as simulated",
    "require_approval": "Have the draft wait for people",
    "add_tag": "Add a tag or several",
    "set_metadata": "Note values by key",
    "mark_processed": "Mark the span as processed",
    "note": "Note a text",
    "emit": "Write a span",
    "schedule": "Do something later",
    "notify": "Tell the journal or a webhook",
}


def rules_schema() -> _Schema:
    """The schema, as JSON values."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lognode rule set",
        "description": "Rules that gate what is written and react to it; docs/rules.md is their reference.",
        **_fields(
            {
                "rules": _NAME,
                "description": _TEXT,
                "variables": {
                    "type": "object",
                    "propertyNames": _KEYS,
                    "maxProperties": RULE_VARIABLES_MAX,
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
                "do": {"type": "array", "minItems": 1, "maxItems": RULES_MAX, "items": _ref("rule")},
            },
            required=("rules", "do"),
        ),
        "$defs": {
            "rule": _rule(),
            "kinds": _one_or_many({"type": "string", "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$"}, RULE_KINDS_MAX),
            "path": {
                "type": "string",
                "maxLength": RULE_PATH_BYTES_MAX,
                "pattern": f"^({'|'.join(FACTS)})([.\\[].*)?$",
            },
            "duration": {"type": "string", "pattern": "^([0-9]{1,9}(ms|s|m|h|d|w))+$"},
            "window": _window(),
            "last": _fields({"subject": _ref("path"), "kinds": _ref("kinds")}, required=("subject",)),
            "condition": _one_of(_conditions()),
            "action": _one_of(_actions()),
            "emit": _emit(),
            "notify": _notify(),
        },
    }


def _path() -> _Schema:
    return {"type": "string", "maxLength": RULE_PATH_BYTES_MAX, "pattern": rf"^({'|'.join(FACTS)})([.\[].*)?$"}


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/$defs/{name}"}


def _fields(fields: _Schema, *, required: tuple[str, ...] = ()) -> _Schema:
    told = {
        name: {**field, "description": _MEANINGS[name]} if name in _MEANINGS else field
        for name, field in fields.items()
    }
    return {"type": "object", "properties": told, "required": list(required), "additionalProperties": False}


def _one_of(choices: _Schema) -> _Schema:
    """A map with exactly one of these keys."""
    return {**_fields(choices), "minProperties": 1, "maxProperties": 1}


def _one_or_many(item: _Schema, most: int) -> _Schema:
    many = {"type": "array", "minItems": 1, "maxItems": most, "uniqueItems": True, "items": item}
    return {"anyOf": [item, many]}


def _named(item: _Schema, most: int) -> _Schema:
    return {
        "type": "object",
        "propertyNames": _KEYS,
        "minProperties": 1,
        "maxProperties": most,
        "additionalProperties": item,
    }


def _by_path(value: _Schema) -> _Schema:
    return {
        "type": "object",
        "propertyNames": _ref("path"),
        "minProperties": 1,
        "maxProperties": RULE_PARTS_MAX,
        "additionalProperties": value,
    }


def _rule() -> _Schema:
    actions = {"type": "array", "minItems": 1, "maxItems": RULE_ACTIONS_MAX, "items": _ref("action")}
    return _fields(
        {
            "id": _NAME,
            "description": _TEXT,
            "on": {"enum": list(PHASES)},
            "run": {"enum": list(RUNS)},
            "kinds": _ref("kinds"),
            "priority": {"type": "integer", "minimum": 0, "maximum": RULE_PRIORITY_MAX},
            "depends_on": _one_or_many(_NAME, RULE_DEPENDENCIES_MAX),
            "windows": _named(_ref("window"), RULE_WINDOWS_MAX),
            "last": _named(_ref("last"), RULE_LAST_MAX),
            "if": _ref("condition"),
            "when": _TEXT,
            "then": actions,
        },
        required=("id", "on", "then"),
    )


def _window() -> _Schema:
    return _fields(
        {
            "over": _ref("duration"),
            "by": _ref("path"),
            "at": {"anyOf": [{"const": "commit"}, _ref("path")]},
            "kinds": _ref("kinds"),
            "count": {"const": True},
            "sum": _ref("path"),
            "distinct": _ref("path"),
        },
        required=("over", "by"),
    )


def _conditions() -> _Schema:
    parts = {"type": "array", "minItems": 1, "maxItems": RULE_PARTS_MAX, "items": _ref("condition")}
    paths = _one_or_many(_ref("path"), RULE_PARTS_MAX)
    number = {"anyOf": [{"type": "number"}, _REFERENCE]}
    return {
        "always": {"const": True},
        "all": parts,
        "any": parts,
        "not": _ref("condition"),
        "equals": _by_path({}),
        "not_equals": _by_path({}),
        "exists": paths,
        "missing": paths,
        "contains_text": _by_path(_TEXT),
        "contains_tag": _one_or_many(_TEXT, RULE_PARTS_MAX),
        "greater_than": _by_path(number),
        "less_than": _by_path(number),
        "when": _TEXT,
    }


def _actions() -> _Schema:
    approval = _fields(
        {
            "role": {"enum": list(APPROVAL_ROLES)},
            "of": {"type": "integer", "minimum": 1, "maximum": RULE_APPROVALS_MAX},
            "within": _ref("duration"),
            "text": _TEXT,
        },
        required=("role", "within", "text"),
    )
    return {
        "allow": _TEXT,
        "reject": _TEXT,
        "simulate": _TEXT,
        "require_approval": approval,
        "add_tag": _one_or_many(_TEXT, TAGS_MAX),
        "set_metadata": {"type": "object", "minProperties": 1, "maxProperties": RULE_PARTS_MAX},
        "mark_processed": {"const": True},
        "note": _TEXT,
        "emit": _ref("emit"),
        "schedule": _schedule(),
        "notify": _ref("notify"),
    }


def _json_map() -> _Schema:
    return {"anyOf": [{"type": "object"}, _REFERENCE]}


def _emit() -> _Schema:
    texts = dict.fromkeys(("title", "subject", "contract_id", "workflow_id", "flow_id"), _TEXT)
    return _fields(
        {
            "kind": {"type": "string", "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*$"},
            **texts,
            "data": _json_map(),
            "metadata": _json_map(),
            "tags": _one_or_many(_TEXT, TAGS_MAX),
            "visibility": {"enum": list(VISIBILITIES)},
        },
        required=("kind",),
    )


def _notify() -> _Schema:
    to = {"type": "string", "pattern": "^(journal|webhook +[a-z0-9][a-z0-9-]* *)$"}
    return _fields({"to": to, "text": _TEXT, "data": _json_map()}, required=("to", "text"))


def _schedule() -> _Schema:
    fields = _fields(
        {
            "name": _TEXT,
            "after": _ref("duration"),
            "at": _ref("path"),
            "cron": {"type": "string", "minLength": 1, "maxLength": RULE_CRON_CHARS_MAX},
            "missed": {"enum": list(MISSED)},
            "emit": _ref("emit"),
            "notify": _ref("notify"),
        },
        required=("name",),
    )
    due = {"oneOf": [{"required": [name]} for name in ("after", "at", "cron")]}
    done = {"oneOf": [{"required": [name]} for name in ("emit", "notify")]}
    return {**fields, "allOf": [due, done]}
