"""Commands that show spans: log, tail, show and why."""

import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from lognode.cli.options import ALL, HERE, LOOK_GROUP, USUAL, Color, Flag, Look, Target, Which
from lognode.cli.output import console, flush, is_terminal, print_json, print_raw, print_text, say, text_width
from lognode.cli.view.nodes import name_knower
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import PAGE_SPANS_MAX

if TYPE_CHECKING:
    from rich.console import Console

    from lognode.cli.view.columns import Columns
    from lognode.client.answers import Span

SCREEN_SPANS: Final = 50
TAIL_SPANS: Final = 10

Follow = Annotated[Flag, Parameter(name=("--follow", "-f"))]
Lines = Annotated[int, Parameter(name=("--lines", "-n"), validator=Number(gte=0, lte=PAGE_SPANS_MAX))]
NoPager = Annotated[Flag, Parameter(group=LOOK_GROUP)]
Limit = Annotated[int | None, Parameter(validator=Number(gte=1))]


def log(
    *,
    limit: Limit = None,
    order: Literal["timeline", "arrival"] = "timeline",
    no_pager: NoPager = False,
    look: Look = USUAL,
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Show spans, the newest last.

    On a terminal the newest 50, in columns and through a pager where they are many. Into a pipe or a file all of
    them, one JSON object a line, the oldest first.

    Parameters
    ----------
    limit
        At most N spans, the newest.
    order
        By the time of the spans, or as this node took them in.
    no_pager
        Straight to the terminal. LOGNODE_PAGER and PAGER name another pager than less.

    Examples
    --------
    What happened to one order, and who did it
    $ lognode log --subject order:17 --time local
    The refused requests of the last two hours
    $ lognode log --kind 'http.*' --tag status:4xx --since 2h
    For programs
    $ lognode log --since 2026-01-31 --fields id,data.amount
    $ lognode log --json | jq -r .title
    """
    where, write = which.filter(order), _writer(look, as_json=target.json)
    if write is None and limit is None and is_terminal():
        limit = SCREEN_SPANS
    with target.client() as client:
        where = name_knower(client, where)
        if limit is None:
            spans: Iterable[Span] = client.spans(where)
        else:
            spans = list(client.spans(where, newest_first=True, limit=limit))[::-1]
        if write is None:
            _print_columns(spans, look, limit, may_page=not no_pager)
        else:
            for span in spans:
                write(span)


def _writer(look: Look, *, as_json: bool) -> "Callable[[Span], None] | None":
    """What prints a span for programs; None where people read columns."""
    from lognode.cli.view.fields import USUAL_FIELDS, parse_fields, pick, tsv_line

    form = "json" if as_json else look.format
    if form is None:
        form = "tsv" if look.fields is not None else "text" if is_terminal() else "json"
    names = parse_fields(look.fields) if look.fields is not None else None
    if form == "text" and names:
        raise CallerError("usage.invalid", "it goes with --format tsv and json", place="--fields")
    if form == "tsv":
        return lambda span: print_raw(tsv_line(span, names or USUAL_FIELDS))
    if form == "json":
        return print_json if names is None else lambda span: print_json(pick(span, names))
    return None


def _columns(look: Look, usual: str) -> "Columns":
    from lognode.cli.view.columns import Columns

    return Columns(text_width(), look.time or usual, lambda: datetime.now(UTC))


def _print_columns(spans: "Iterable[Span]", look: Look, limit: int | None, *, may_page: bool) -> None:
    from lognode.cli.view.columns import ID_WIDTH_MIN
    from lognode.cli.view.pager import paged

    columns = _columns(look, "relative")
    is_long = False
    if isinstance(spans, list):
        columns.fit(spans)
        is_long = is_terminal() and len(spans) >= get_terminal_size().lines
    count = 0
    with paged() if is_long and may_page else nullcontext(sys.stdout) as out:
        screen = console(look.color, out)
        for span in spans:
            screen.print(columns.line(span), soft_wrap=True)
            count += 1
    if not count:
        say("No span matches.")
    elif count == limit:
        say(f"The newest {limit} are shown; --limit shows more, --json all.")
    if count and not columns.has_ids:
        say(f"Ids are shown on {ID_WIDTH_MIN} columns and more, and with --format tsv.")


def show(span_id: str, /, *, entry: Flag = False, color: Color = "auto", target: Target = HERE) -> None:
    """Show all of one span.

    Fields without a value are left out, unless --json asks for all.

    Parameters
    ----------
    span_id
        Its id.
    entry
        Only its entry in the feed's tree, in hex: the bytes that a proof is about.

    Examples
    --------
    $ lognode show 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0
    $ lognode show 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0 --json | jq .data
    """
    with target.client() as client:
        span = client.span(span_id)
    if entry:
        print_text(span["entry"])
    elif target.json:
        print_json(span)
    else:
        from lognode.cli.view.span import span_card

        screen = console(color)
        for line in span_card(span):
            screen.print(line, soft_wrap=True)


def why(span_id: str, /, *, color: Color = "auto", target: Target = HERE) -> None:
    """Show what led to a span, what it led to, and what rules decided.

    Of each rule that did something it says which conditions decided, with the values that they read; why a draft was
    rejected, or waits, is asked of the rule.fired that tells of it. A cause that this
    node does not hold is named as such. At most 1,000 causes and 1,000 effects are shown.

    Parameters
    ----------
    span_id
        Its id.

    Examples
    --------
    $ lognode why 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0
    """
    with target.client() as client:
        span, causes, effects = client.span(span_id), client.causes(span_id), client.effects(span_id)
        decision = client.decision(span["id"])
    if target.json:
        print_json({"span": span, "causes": causes, "effects": effects, "decision": decision})
        return
    from lognode.cli.view.decision import decision_lines
    from lognode.cli.view.span import why_tree

    screen = console(color)
    screen.print(why_tree(span, causes, effects))
    for line in decision_lines(decision):
        screen.print(line, soft_wrap=True)


def tail(
    *,
    follow: Follow = False,
    lines: Lines = TAIL_SPANS,
    look: Look = USUAL,
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Show the spans that arrived last; with -f also each new one.

    When the node restarts it says so and waits for it, up to 30 seconds, and then misses nothing and repeats
    nothing. Into a pipe it writes one JSON object a line, each as soon as it is there.

    Parameters
    ----------
    follow
        Go on with each new span as it arrives, until Ctrl-C.
    lines
        Begin with at most N spans, the newest.

    Examples
    --------
    $ lognode tail -f
    Only new ones, for a program
    $ lognode tail -f -n 0 --kind 'order.*' --json | jq --unbuffered .subject

    Notes
    -----
    Ctrl-C ends it with exit code 130, a node that stays away with 3.
    """
    where, write = which.filter("arrival"), _writer(look, as_json=target.json)
    if follow and where.known_by is not None:
        raise CallerError("usage.invalid", "what a node knew then does not grow: leave out -f")
    with target.client() as client:
        where = name_knower(client, where)
        if lines and where.known_by is not None:  # one page of these may have none, and others follow
            spans, cursor = list(client.spans(where, newest_first=True, limit=lines))[::-1], ""
        elif lines:
            page = client.page(where, limit=lines)
            spans, cursor = page["spans"][::-1], page["newer"]
        else:
            spans, cursor = [], client.newest_cursor()
        if write is None:
            columns = _columns(look, "clock")
            columns.fit(spans)
            write = _line_printer(columns, console(look.color))
        for span in spans:
            write(span)
        flush()
        if follow:
            for arrival in client.tail(where, after=cursor, on_lost=_say_lost, on_back=_say_back):
                write(arrival.span)
                flush()


def _line_printer(columns: "Columns", screen: "Console") -> "Callable[[Span], None]":
    return lambda span: screen.print(columns.line(span), soft_wrap=True)


def _say_lost(error: LognodeError) -> None:
    say(f"Connection lost ({error.detail or error.spec.title}); waiting for the node.")


def _say_back() -> None:
    say("Connected again.")
