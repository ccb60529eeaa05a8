"""The daemon's log: one line an event on stderr, for people, for a collector or for the journal.

Owns form and level. Knows nothing of what is logged. Invariants: a traceback never holds the values of variables,
which may be keys and tokens; a log that cannot be written changes nothing, and nobody waits for one that is not read.
"""

import logging
import os
import select
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter

# How the journal reads levels: a number of syslog(3) in front of the line, as sd-daemon(3) has it.
PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure_log(level: str, log_format: str, environ: Mapping[str, str]) -> None:
    """Log to stderr from now on, also where somebody has logged before.

    `log_format` is text, json or auto: json where stderr is the journal, else text. In the journal every line
    carries its priority.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    is_journal = is_journal_stream(environ.get("JOURNAL_STREAM", ""))
    is_json = log_format == "json" or (log_format == "auto" and is_journal)
    render = (
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        _trace_without_values if is_json else structlog.processors.format_exc_info,
        _with_priority(render) if is_journal else render,
    ]

    def tell(dropped: int) -> str:
        event: Any = {"event": "log_dropped", "entries": dropped}
        for process in processors:
            event = process(None, "error", event)
        return f"{event}\n"

    stderr = cast("TextIO", _Stderr(tell))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stderr),
        cache_logger_on_first_use=False,  # a reload may change the form
    )
    # Libraries log in the same form, and only what is wrong.
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.name == __name__]:
        root.removeHandler(handler)
    handler = logging.StreamHandler(stderr)
    handler.name = __name__
    handler.setFormatter(ProcessorFormatter(processors=[ProcessorFormatter.remove_processors_meta, *processors]))
    root.addHandler(handler)
    root.setLevel(max(number, logging.WARNING))


def is_journal_stream(stream: str) -> bool:
    """Whether stderr is what JOURNAL_STREAM names: by device and inode, since others may have redirected it."""
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{stat.st_dev}:{stat.st_ino}"


class _Stderr:
    """Stderr whose failure is nobody's: a closed terminal must not turn a commit into an error.

    Nor may a pipe that nobody reads stop the event loop: what it does not take at once is dropped, and counted. It is
    never set to non-blocking, which all processes that share it would share too. `tell` makes an entry of a count of
    dropped ones.
    """

    def __init__(self, tell: Callable[[int], str]) -> None:
        self._tell = tell
        self._dropped = 0  # entries
        self._is_torn = False  # the last one ended in its middle

    def write(self, text: str) -> None:
        """Write one entry."""
        with suppress(OSError, ValueError):
            handle = sys.stderr.fileno()
            if self._dropped and self._write(handle, self._tell(self._dropped)):
                self._dropped = 0
            self._dropped += not self._write(handle, text)

    def _write(self, handle: int, text: str) -> bool:
        """Whether all of an entry was written."""
        rest = memoryview(b"\n" * self._is_torn + text.encode("utf-8", "backslashreplace"))
        # Not into Python's buffer: what stays there fails again at the end, and makes a clean exit a code 120.
        while rest and _is_writable(handle):
            rest = rest[os.write(handle, rest[: select.PIPE_BUF]) :]  # so much fits where anything does
            self._is_torn = bool(rest)
        return not rest

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def _is_writable(handle: int) -> bool:
    """Whether writing can go on, or fail, at once."""
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    return bool(poll.poll(0))


# Tracebacks without the values of local variables: those hold keys and tokens.
_trace_without_values = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _with_priority(render: Any) -> Any:
    """A renderer that also puts the event's priority in front of each of its lines."""

    def render_for_journal(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        prefix = f"<{PRIORITIES.get(event['level'], PRIORITIES['info'])}>"
        return "\n".join(prefix + line for line in render(logger, method, event).splitlines())

    return render_for_journal
