"""What docs/operating.md has root type works: block by block on a machine with an /etc and /opt of its own.

The programs are the real ones, from `head` to `systemctl`; `sudo` alone runs what follows as it is. systemd, which does
not run here, changes files but starts nothing.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest

from tests.docs.document import blocks_of
from tests.service.units import PROGRAM, ROOT, SERVICE, SOCKET

TEST: Final = str(Path(__file__).relative_to(ROOT))
SUDO: Final = '#!/bin/sh\nexec "$@"\n'
# Offline, systemctl refuses a --now that it would otherwise pass over like any other start.
SYSTEMCTL: Final = '#!/bin/bash\nexec /usr/bin/systemctl "${@/#--now/--quiet}"\n'
PYTHON: Final = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


class Machine:
    """A machine on which one block after the other is typed."""

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "etc"
        self.opt = folder / "opt"
        programs = folder / "bin"
        for path in (self.etc / "systemd/system", self.opt, programs):
            path.mkdir(parents=True)
        for name in ("passwd", "group"):
            (self.etc / name).touch()
        for name, text in {"sudo": SUDO, "python3": PYTHON, "systemctl": SYSTEMCTL}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self._environ = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "SYSTEMD_OFFLINE": "1",
            # What the package needs is there already: only the package itself is built and installed.
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of --build-isolation
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self._sandbox: tuple[str, ...] = ("bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/")
        self._sandbox += ("--bind", str(self.etc), "/etc", "--bind", str(self.opt), "/opt", "--chdir", str(ROOT))

    def type(self, script: str) -> str:
        """What a script prints; it must not fail."""
        command = (*self._sandbox, "bash", "-euo", "pipefail", "-c", script)
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def test_the_service_is_installed_as_documented(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    blocks = [
        block for block in blocks_of(ROOT / "docs/operating.md") if block.words.get("elsewhere", "").endswith(TEST)
    ]
    assert len(blocks) == 3
    for block in blocks:
        machine.type(block.text)

    assert machine.type(f"{PROGRAM} --version").strip()
    # The program is where the unit looks for it, so that this time nothing in the unit needs to be replaced.
    units = [f"/etc/systemd/system/{unit.name}" for unit in (SERVICE, SOCKET)]
    assert machine.type(f"systemd-analyze verify {' '.join(units)}") == ""
    wanted = machine.etc / "systemd/system"
    assert (wanted / f"multi-user.target.wants/{SERVICE.name}").is_symlink()
    assert (wanted / f"sockets.target.wants/{SOCKET.name}").is_symlink()
    assert "lognode" in (machine.etc / "passwd").read_text()
    passphrase = machine.etc / "credstore/lognode.key-passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_text().strip()) == 32


def test_a_mistake_in_a_block_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no-such-unit"):
        Machine(tmp_path).type("sudo systemctl enable no-such-unit.service")
