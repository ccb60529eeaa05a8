"""What the daemon's log says, and what it never may."""

import json
import sys
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
