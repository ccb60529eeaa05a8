"""What Ctrl-C leaves: a word of what is not done, and a shell that stops as well."""

import fcntl
import os
import shlex
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from lognode.cli.main import run
from tests.cli.lognode_command import COMMAND, COMMAND_S_MAX, Lognode
from tests.daemon import Daemon


def wait_until_read(pipe: int) -> None:
    """Wait until nothing that was written into a pipe is left in it."""
    deadline = time.monotonic() + COMMAND_S_MAX
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))) != (0,):
        assert time.monotonic() < deadline, "nobody reads it"
        time.sleep(0.01)


def test_ctrl_c_stops_the_script_around_a_command_too(daemon: Daemon, tmp_path: Path) -> None:
    environ = Lognode(tmp_path, daemon.data_dir).environ
    script = f"while true; do {shlex.join(COMMAND)} import --dry-run -; echo went on with $?; done"
    shell = subprocess.Popen(
        ("bash", "-c", script),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    assert shell.stdin is not None
    shell.stdin.write(b'{"kind":"a.b"}\n')
    shell.stdin.flush()
    wait_until_read(shell.stdin.fileno())
    os.killpg(shell.pid, signal.SIGINT)
    out, err = shell.communicate(timeout=COMMAND_S_MAX)

    assert (shell.returncode, out, err) == (-signal.SIGINT, b"", b"Stopped; nothing was written.\n")


@pytest.mark.parametrize(
    ("command", "place", "said"),
    [
        (("verify",), "store.audit.audit_file", "the history is not verified"),
        (("backup", "verify", "BACKUP"), "store.backup.verification.verify_backup", "the backup is not verified"),
        (("bundle", "verify", "BACKUP/node.key"), "proof.bundle.reader.verify_bundle", "the bundle is not verified"),
        (("bundle", "create", "-o", "OUT"), "proof.bundle.reader.verify_bundle", "nothing was written"),
    ],
)  # fmt: skip
def test_ctrl_c_leaves_a_word_of_what_is_not_done(
    daemon: Daemon,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    place: str,
    said: str,
) -> None:
    def interrupt(*_: object, **_named: object) -> None:
        raise KeyboardInterrupt

    backup = tmp_path / "backup"
    Lognode(tmp_path, daemon.data_dir).text("backup", "create", str(backup))
    monkeypatch.setenv("LOGNODE_DATA_DIR", str(daemon.data_dir))
    monkeypatch.setattr(f"lognode.timeline.{place}", interrupt)
    words = [word.replace("BACKUP", str(backup)).replace("OUT", str(tmp_path / "out")) for word in command]

    assert (run(words), *capsys.readouterr()) == (130, "", f"Stopped; {said}.\n")
    assert not (tmp_path / "out").exists()
