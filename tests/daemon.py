"""A real daemon as a process of its own, as a user would start it."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Final

import httpx

# The command, also where the package is on the path without being installed.
LOGNODE: Final = (sys.executable, "-m", "lognode")

# How long a hanging daemon holds up the tests; no test measures time by them.
START_S_MAX: Final = 60
STOP_S_MAX: Final = 60


class Daemon:
    """`lognode up` on a data directory and a free port; start, stop, kill and restart it at will."""

    def __init__(self, data_dir: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._command = (*LOGNODE, "up", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0", *flags)
        # Nothing of the machine's own settings: a clean home and no LOGNODE_ variable.
        self._environ = {"HOME": str(data_dir.parent), "PATH": "/usr/bin:/bin", **(environ or {})}
        self._process: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the API answers; another port after each start."""
        return (self.data_dir / "api.url").read_text().strip()

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.data_dir / "admin.token").read_text().strip()

    @property
    def pid(self) -> int:
        """The process's id, for signals and for strace."""
        assert self._process is not None, "the daemon was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the daemon printed, over all its starts."""
        return self.log_path.read_text(errors="replace")

    @property
    def headers(self) -> dict[str, str]:
        """What a request with full rights carries."""
        return {"Authorization": f"Bearer {self.token}"}

    def client(self) -> httpx.Client:
        """A plain HTTP client with the token; the caller closes it."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=30, trust_env=False)

    def start(self) -> None:
        """Returns once /readyz says yes; fails with the daemon's log when it ends before."""
        assert self._process is None, "the daemon is running"
        # A killed daemon leaves its old URL behind, where somebody else may listen by now.
        (self.data_dir / "api.url").unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self._process = Popen(self._command, cwd=self.data_dir.parent, env=self._environ, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S_MAX
        while not self._is_ready():
            if self._process.poll() is not None:
                code, self._process = self._process.returncode, None
                raise AssertionError(f"the daemon ended with code {code}:\n{self.log}")
            assert time.monotonic() < deadline, f"the daemon is not ready after {START_S_MAX} s:\n{self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks the daemon to end, and asserts that it does so cleanly; nothing if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S_MAX)
        except TimeoutExpired:
            self.kill()
            raise AssertionError(f"the daemon did not stop within {STOP_S_MAX} s:\n{self.log}") from None
        self._process = None
        assert code == 0, f"the daemon ended with code {code}:\n{self.log}"
        assert "Traceback" not in self.log, self.log

    def kill(self) -> None:
        """Ends the daemon as a power cut would: SIGKILL, without a chance to tidy up."""
        assert self._process is not None, "the daemon is not running"
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stops the daemon if it runs, and starts it on the same data directory."""
        self.stop()
        self.start()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False).status_code == httpx.codes.OK
        except (OSError, httpx.TransportError):
            return False  # no URL yet, or nobody there yet
