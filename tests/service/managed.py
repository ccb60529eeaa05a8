"""The daemon as systemd would start it: the unit's ExecStart, with the environment and sockets that go with it."""

import fcntl
import os
import shlex
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import Final, Self

import httpx

from tests.daemon import LOGNODE, STOP_S_MAX
from tests.service.sandbox import Sandbox
from tests.service.units import PROGRAM, SERVICE, SOCKET, value, values

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
HEAR_S_MAX: Final = 60  # how long a silent daemon holds up the tests
WATCHDOG_USEC: Final = 900_000
FIRST_HIGH_FD: Final = 50
# Puts the sockets where sd_listen_fds(3) has them, and tells the process that becomes the daemon its own id.
HAND_OVER: Final = 'export LISTEN_PID=$$; eval exec \'"$@"\' "$REDIRECTIONS"'


class Managed:
    """A daemon and the manager that it tells how it is. Use it with `with`; it is killed at the end if it runs."""

    def __init__(
        self,
        folder: Path,
        *,
        handed: Sequence[socket.socket] = (),
        sandbox: Sandbox | None = None,
        patch: str | None = None,
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.configuration = folder / "etc"
        self.credentials = folder / "credentials"
        self.runtime = folder / "run"
        for path in (self.state, self.configuration, self.credentials, self.runtime):
            path.mkdir(exist_ok=True)
        self.log_path = folder / "journal"
        self.messages: list[dict[str, str]] = []
        self._handed = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, FIRST_HIGH_FD) for sock in handed]
        self._sandbox = sandbox
        program = LOGNODE if patch is None else (sys.executable, str(LAUNCHER), patch)
        first, *arguments = shlex.split(value(SERVICE, "ExecStart"))
        assert first == PROGRAM
        self._command = (*(sandbox.command if sandbox else ()), "bash", "-c", HAND_OVER, "bash", *program, *arguments)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify_path = folder / "notify"
        self._manager.bind(str(self.notify_path))
        self._process: Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()  # a sandbox ends with its parent
            self._process.wait()
        self._manager.close()
        for handle in self._handed:
            os.close(handle)

    @property
    def pid(self) -> int:
        """The id of the daemon's process, inside its sandbox if it is in one."""
        assert self._process is not None, "the daemon was not started"
        return self._pid

    @property
    def log(self) -> str:
        """What the journal got."""
        return self.log_path.read_text(errors="replace")

    @property
    def url(self) -> str:
        return (self.state / "api.url").read_text().strip()

    def client(self) -> httpx.Client:
        """An HTTP client with the token; the caller closes it."""
        token = (self.state / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=HEAR_S_MAX, trust_env=False, verify=False)

    def spawn(self) -> None:
        """Start it, as systemd does: nothing of this process's environment, stderr going to the journal."""
        while self._receive(0):  # what is left of the last run
            pass
        with self.log_path.open("ab") as log:
            stat = os.fstat(log.fileno())
            environ = {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "NOTIFY_SOCKET": str(self.notify_path),
                "WATCHDOG_USEC": str(WATCHDOG_USEC),
                "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}",
                "STATE_DIRECTORY": str(self.state),
                "CONFIGURATION_DIRECTORY": str(self.configuration),
                "RUNTIME_DIRECTORY": str(self.runtime),
                "CREDENTIALS_DIRECTORY": str(self.credentials),
                "LISTEN_FDS": str(len(self._handed)),
                "LISTEN_FDNAMES": ":".join(["lognode.socket"] * len(self._handed)),
                "REDIRECTIONS": " ".join(
                    f"{3 + number}<&{handle} {handle}<&-" for number, handle in enumerate(self._handed)
                ),
            }
            if not self._handed:
                # There is no lognode.socket, and the usual port may be somebody's.
                environ |= {"LOGNODE_LISTEN": "127.0.0.1:0"}
            self._process = Popen(
                self._command,
                env=environ,
                cwd="/",
                stdout=log,
                stderr=log,
                pass_fds=(*self._handed, *(self._sandbox.pass_fds if self._sandbox else ())),
                umask=int(value(SERVICE, "UMask"), 8),
            )
        self._pid = self._sandbox.child_pid() if self._sandbox else self._process.pid

    def start(self) -> None:
        """Start it, and return when it says that it is ready."""
        self.spawn()
        self.hear("READY")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None, "the daemon was not started"
        code = self._process.wait(STOP_S_MAX)
        self._process = None
        return code

    def stop(self) -> None:
        """Stop it as systemd does; it must say so, and end cleanly."""
        self.signal(signal.SIGTERM)
        self.hear("STOPPING")
        assert self.end() == 0, self.log
        assert "Traceback" not in self.log, self.log

    def hear(self, word: str) -> dict[str, str]:
        """The next message that tells `word`; those before it are in `messages` too."""
        deadline = time.monotonic() + HEAR_S_MAX
        while word not in (message := self._receive(1)):
            is_running = self._process is not None and self._process.poll() is None
            assert message or is_running, f"the daemon has ended:\n{self.log}"
            assert time.monotonic() < deadline, f"the daemon does not say {word}:\n{self.log}"
        return message

    def pings_within(self, seconds: float) -> int:
        """How many pings come in so many seconds, without those that came already."""
        while self._receive(0):
            pass
        count = 0
        while message := self._receive(seconds):
            count += "WATCHDOG" in message
        return count

    def _receive(self, wait_s: float) -> dict[str, str]:
        """The next message by name; empty when none comes."""
        self._manager.settimeout(wait_s)
        try:
            data, credentials, _, _ = self._manager.recvmsg(4096, 64)
        except (TimeoutError, BlockingIOError):
            return {}
        (pid, _, _) = struct.unpack("3i", credentials[0][2])
        assert self._process is None or pid == self.pid, "systemd takes messages of the main process only"
        message = dict(line.split("=", 1) for line in data.decode().splitlines())
        self.messages.append(message)
        return message


def activated_sockets(folder: Path) -> list[socket.socket]:
    """What lognode.socket has systemd open, with a free port and a path in `folder` in place of its addresses."""
    sockets = list[socket.socket]()
    for address in values(SOCKET, "ListenStream"):
        if address.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(folder / Path(address).name))
        else:
            sock = socket.socket(socket.AF_INET)
            sock.bind((address.split(":")[0], 0))
        sock.listen(int(value(SOCKET, "Backlog")))
        sockets.append(sock)
    return sockets
