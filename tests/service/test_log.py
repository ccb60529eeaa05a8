"""What the daemon's log says, and what it never may."""

import json
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Final

import pytest
import structlog

from lognode.service.log import configure_log

HANG_S_MAX: Final = 30
SECRET = "0secret0token0that0no0log0may0hold0"


def fail(token: str) -> None:
    raise RuntimeError(f"{len(token)} characters")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_holds_no_value_of_a_variable(
    log_format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_log("info", log_format, {})
    try:
        fail(SECRET)
    except RuntimeError:
        structlog.get_logger("test").exception("unforeseen")
    said = capfd.readouterr().err
    assert "unforeseen" in said
    assert "RuntimeError" in said
    assert SECRET not in said
    if log_format == "json":
        assert json.loads(said)["level"] == "error"


def test_a_log_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = (tmp_path / "log").open("w")
    closed.close()
    configure_log("info", "auto", {})
    monkeypatch.setattr(sys, "stderr", closed)
    structlog.get_logger("test").error("nobody hears")


@contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that is full: the one to read, the one to write."""
    theirs, ours = os.pipe()
    try:
        fill(ours)
        yield theirs, ours
    finally:
        os.close(theirs)
        os.close(ours)


def fill(handle: int) -> None:
    os.set_blocking(handle, False)
    with suppress(BlockingIOError):
        while True:
            os.write(handle, b"." * select.PIPE_BUF)
    os.set_blocking(handle, True)


def empty(handle: int) -> str:
    """All that is in a pipe."""
    data = bytearray()
    while select.select([handle], [], [], 0)[0]:
        data += os.read(handle, 65536)
    return data.decode().lstrip(".")


def test_nobody_waits_for_a_log_that_nobody_reads_and_what_was_dropped_is_counted() -> None:
    log = structlog.get_logger("test")

    def log_much() -> None:
        for number in range(100):
            log.error("unheard", number=number, long="x" * 3 * select.PIPE_BUF)

    with unread_pipe() as (theirs, ours), open(ours, "w", closefd=False) as stderr, redirect_stderr(stderr):
        configure_log("error", "json", {})
        thread = threading.Thread(target=log_much, daemon=True)
        thread.start()
        thread.join(HANG_S_MAX)
        assert not thread.is_alive()
        empty(theirs)
        log_much()  # as many as find room, and the beginning of one more
        told, *entries = empty(theirs).splitlines()
        log.error("heard")
        torn, told_again, heard = entries.pop(), *empty(theirs).splitlines()[1:]

    assert json.loads(told)["entries"] == 100
    assert [json.loads(entry)["number"] for entry in entries] == list(range(len(entries)))
    assert torn.startswith("{")
    assert json.loads(told_again)["event"] == "log_dropped"
    assert json.loads(told_again)["entries"] == 100 - len(entries)
    assert json.loads(heard)["event"] == "heard"


def journal_lines(path: Path, level: str = "info", log_format: str = "auto") -> list[str]:
    """What the journal gets of two events and a library's complaint."""
    with path.open("w+") as journal:
        stat = os.fstat(journal.fileno())
        with redirect_stderr(journal):
            configure_log(level, log_format, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
            log = structlog.get_logger("test")
            log.info("begun")
            try:
                fail(SECRET)
            except RuntimeError:
                log.exception("two\nlines")
            logging.getLogger("library").warning("complains of %s", "something")
            logging.getLogger("library").info("chats")
        return path.read_text().splitlines()


def test_the_journal_gets_one_line_of_json_an_event_with_its_priority(tmp_path: Path) -> None:
    lines = journal_lines(tmp_path / "journal")

    assert [line[:3] for line in lines] == ["<6>", "<3>", "<4>"]
    events = [json.loads(line[3:]) for line in lines]
    assert [event["event"] for event in events] == ["begun", "two\nlines", "complains of something"]
    assert [event["level"] for event in events] == ["info", "error", "warning"]
    assert SECRET not in "".join(lines)


def test_text_for_the_journal_has_its_priority_on_every_line(tmp_path: Path) -> None:
    lines = journal_lines(tmp_path / "journal", log_format="text")

    assert {line[:3] for line in lines} == {"<6>", "<3>", "<4>"}
    assert len(lines) > 3  # a traceback


def test_a_level_hides_what_is_below(tmp_path: Path) -> None:
    assert [line[:3] for line in journal_lines(tmp_path / "journal", level="error")] == ["<3>"]


def test_a_log_that_goes_elsewhere_is_no_journal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stat = tmp_path.stat()
    configure_log("info", "auto", {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
    structlog.get_logger("test").info("begun")

    said = capfd.readouterr().err
    assert "begun" in said
    assert not said.startswith(("<", "{"))


def test_a_changed_form_is_used_by_whoever_logged_before(capfd: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger("test")
    for log_format, is_json in (("text", False), ("json", True)):
        configure_log("info", log_format, {})
        log.info("said")
        assert capfd.readouterr().err.startswith("{") == is_json
