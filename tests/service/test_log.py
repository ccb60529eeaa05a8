"""What the daemon's log says, and what it never may."""

import json
import logging
import os
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import structlog

from lognode.service.log import configure_log

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
