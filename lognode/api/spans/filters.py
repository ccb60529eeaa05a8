"""The query parameters that choose spans, for the routes that take them."""

from collections.abc import Mapping, Sequence
from typing import Final

from quart import request

from lognode.api.app import Parameter

FILTERS: Final = (
    Parameter("kind", "A kind, or all below one as in order.*; any of those given", is_repeatable=True),
    Parameter("tag", "A tag; all of those given", is_repeatable=True),
    Parameter("actor", "Who acted, as a LogLine ID"),
    Parameter("subject", "What it was about"),
    Parameter("status", "executed or simulated"),
    Parameter("visibility", "private, organization or public"),
    Parameter("since", "Not before this time: RFC 3339, or Unix milliseconds"),
    Parameter("until", "Before this time: RFC 3339, or Unix milliseconds"),
    Parameter("caused_by", "The id of the span that led to it"),
    Parameter("origin", "The id of the span that it is a copy of"),
    Parameter("contract", "A contract's id"),
    Parameter("workflow", "A workflow's id"),
    Parameter("flow", "A flow's id"),
    Parameter("known_by", "A node, as a LogLine ID: what it knew when it wrote the span `at`, or last before that"),
    Parameter("at", "The id of a span, with `known_by`"),
    Parameter("merges", "false leaves out the merges that nodes write by themselves", bool),
    Parameter("text", "Words of title and data; only where the tenant has full text"),
)


def url_parameters() -> Mapping[str, Sequence[str]]:
    """The parameters of the request's or the upgrade's URL."""
    return dict(request.args.lists())
