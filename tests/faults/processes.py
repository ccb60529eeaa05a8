"""Daemons that are hindered: killed while they start, limited in their rights, patched to be wrong.

Also `lognode` as a command that must fail, with its exit code and its problem.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen, run
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import httpx

from tests.daemon import LOGNODE, Daemon

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
COMMAND_S_MAX: Final = 60
CAP_DAC_OVERRIDE: Final = 1


def may_override() -> bool:
    """Whether file permissions mean nothing to this process, as to root."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (effective,) = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")]
    return bool(effective >> CAP_DAC_OVERRIDE & 1)


# A wrapper by which file permissions hold for root as for anybody else.
AS_ANYBODY: Final = ("setpriv", "--bounding-set=-dac_override") if may_override() else ()


class HinderedDaemon(Daemon):
    """A daemon behind another command, `wrapper`, or with a `patch` of launcher.py."""

    def __init__(self, data_dir: Path, *flags: str, wrapper: Sequence[str] = (), patch: str | None = None) -> None:
        super().__init__(data_dir, *flags)
        command = self._command if patch is None else (sys.executable, str(LAUNCHER), patch, *self._command[3:])
        self._command = (*wrapper, *command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """No test leaves a daemon behind."""
        if self._process is not None:
            self.kill()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended, by itself or by force."""
        return self._process is not None and self._process.poll() is None

    def try_to_start(self) -> int | None:
        """None when the daemon became ready, else the code with which it ended; its log says why."""
        try:
            self.start()
        except AssertionError as error:
            ended = re.match("the daemon ended with code (-?[0-9]+)", str(error))
            if ended is None:
                raise  # it hangs
            return int(ended[1])
        return None

    def client(self) -> httpx.Client:
        # Without the certificates that nobody needs on this machine, which take longer to load than a request.
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=30, trust_env=False, verify=False)

    def start_and_kill(self, after_s: float) -> None:
        """Start, and SIGKILL before it may be ready."""
        with self.log_path.open("ab") as log:
            process = Popen(self._command, cwd=self.data_dir.parent, env=self._environ, stdout=log, stderr=log)
        time.sleep(after_s)
        process.kill()
        process.wait()

    def start_and_kill_when(self, is_time: Callable[[], bool]) -> None:
        """Start, and SIGKILL at a time that `is_time`, asked again and again, finds."""
        with self.log_path.open("ab") as log:
            process = Popen(self._command, cwd=self.data_dir.parent, env=self._environ, stdout=log, stderr=log)
        try:
            for _ in range(1000 * COMMAND_S_MAX):
                if is_time():
                    return
                assert process.poll() is None, self.log
                time.sleep(0.001)
            raise AssertionError(f"its time did not come:\n{self.log}")
        finally:
            process.kill()
            process.wait()


class Refused(NamedTuple):
    """How a command failed."""

    exit_code: int
    problem: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.problem["code"])


def refused(home: Path, *arguments: str, stdin: bytes = b"", wrapper: Sequence[str] = ()) -> Refused:
    """How `lognode ARGUMENTS --json` fails; an assertion fails when it does not."""
    done = run(
        (*wrapper, *LOGNODE, *arguments, "--json"),
        input=stdin,
        capture_output=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=home,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode != 0, done.stdout.decode()
    return Refused(done.returncode, json.loads(done.stderr.splitlines()[-1]))


def verify_command(data_dir: Path) -> None:
    """Asserts that `lognode verify` finds nothing."""
    done = run(
        (*LOGNODE, "verify", "--data-dir", str(data_dir)),
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
