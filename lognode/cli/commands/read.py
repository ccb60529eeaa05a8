"""Commands that show spans: log, show, why and tail."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from lognode.cli.options import ALL, HERE, Flag, Target, Which
from lognode.cli.output import console, flush, is_terminal, print_json, print_text, say
from lognode.core.errors import LognodeError
from lognode.core.limits import PAGE_SPANS_MAX

if TYPE_CHECKING:
    from lognode.client.answers import Span

SCREEN_SPANS: Final = 50
TAIL_SPANS: Final = 10

Follow = Annotated[Flag, Parameter(name=("--follow", "-f"))]
Lines = Annotated[int, Parameter(name=("--lines", "-n"), validator=Number(gte=0, lte=PAGE_SPANS_MAX))]
Limit = Annotated[int | None, Parameter(validator=Number(gte=1))]


def log(
    *,
    limit: Limit = None,
    order: Literal["timeline", "arrival"] = "timeline",
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Show spans, the newest last: 50 on a terminal, into a pipe all of them, one JSON object a line.

    Parameters
    ----------
    limit
        At most N spans, the newest.
    order
        By the time of the spans, or as this node took them in.
    """
    where = which.filter(order)
    as_lines = target.json or not is_terminal()
    if limit is None and not as_lines:
        limit = SCREEN_SPANS
    with target.client() as client:
        if limit is None:
            for span in client.spans(where):
                print_json(span)
            return
        spans = list(client.spans(where, newest_first=True, limit=limit))[::-1]
    if as_lines:
        for span in spans:
            print_json(span)
        return
    _print_screen(spans)
    if len(spans) == limit:
        say(f"The newest {limit} are shown; --limit shows more, --json all.")


def _print_screen(spans: "list[Span]") -> None:
    from lognode.cli.display import ago, span_line

    screen, now = console(), datetime.now(UTC)
    for span in spans:
        screen.print(span_line(span, ago(span["at"], now), screen.width))
    if not spans:
        say("No span matches.")


def show(span_id: str, /, *, entry: Flag = False, target: Target = HERE) -> None:
    """Show all of one span.

    Parameters
    ----------
    span_id
        Its id.
    entry
        Only its entry in the feed's tree, in hex: the bytes that a proof is about.
    """
    with target.client() as client:
        span = client.span(span_id)
    if entry:
        print_text(span["entry"])
    elif target.json:
        print_json(span)
    else:
        from lognode.cli.display import span_card

        screen = console()
        for line in span_card(span):
            screen.print(line, soft_wrap=True)


def why(span_id: str, /, *, target: Target = HERE) -> None:
    """Show what led to a span and what it led to, as a tree.

    Parameters
    ----------
    span_id
        Its id.
    """
    with target.client() as client:
        span, causes, effects = client.span(span_id), client.causes(span_id), client.effects(span_id)
    if target.json:
        print_json({"span": span, "causes": causes, "effects": effects})
        return
    from lognode.cli.display import why_tree

    console().print(why_tree(span, causes, effects))


def tail(*, follow: Follow = False, lines: Lines = TAIL_SPANS, which: Which = ALL, target: Target = HERE) -> None:
    """Show the spans that arrived last, the newest last; with -f also each new one, until interrupted.

    Parameters
    ----------
    follow
        Go on with each new span as it arrives; when the node restarts, wait for it and miss none.
    lines
        Begin with at most N spans, the newest.
    """
    where = which.filter("arrival")
    with target.client() as client:
        if lines:
            page = client.page(where, limit=lines)
            spans, cursor = page["spans"][::-1], page["newer"]
        else:
            spans, cursor = [], client.newest_cursor()
        for span in spans:
            _print_new(span, as_json=target.json)
        flush()
        if follow:
            for arrival in client.tail(where, after=cursor, on_lost=_say_lost):
                _print_new(arrival.span, as_json=target.json)
                flush()


def _print_new(span: "Span", *, as_json: bool) -> None:
    if as_json or not is_terminal():
        print_json(span)
        return
    from lognode.cli.display import clock_time, span_line

    screen = console()
    screen.print(span_line(span, clock_time(span["at"]), screen.width))


def _say_lost(error: LognodeError) -> None:
    say(f"Connection lost ({error.detail or error.spec.title}); waiting for the node.")
