"""A disk that fails: system calls that strace makes fail, and a disk with next to no room.

The calls are those by which SQLite writes: pwrite64, fdatasync, ftruncate. strace comes to a running daemon and
goes again, or starts one in which a single call fails.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Final

from lognode.core.limits import DISK_FREE_BYTES_MIN, KIB, MIB

ATTACH_S_MAX: Final = 30
SMALL_DISK_BYTES: Final = DISK_FREE_BYTES_MIN + 32 * MIB  # enough to be ready


@contextmanager
def failing(pid: int, calls: str, error: str) -> Iterator[None]:
    """While inside, these system calls of a process that lets itself be traced fail with `error`."""
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}")
    strace = Popen(("strace", "-f", "-p", str(pid), "-o", "/dev/null", *inject))
    try:
        _wait(lambda: strace.poll() is not None or _tracers(pid) == {strace.pid})
        assert strace.returncode is None, "strace may not trace"
        yield
    finally:
        strace.terminate()
        strace.wait()
    assert _tracers(pid) <= {0}


def at_one_call(call: str, event: str, number: int) -> tuple[str, ...]:
    """A wrapper by which `event` happens at the n-th such call of each thread, once: error=CODE or signal=NAME."""
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:{event}:when={number}")
    # With the filter other calls cost nothing, but strace's signals are lost. -D: the daemon stays our child.
    quick = ("--seccomp-bpf",) if event.startswith("error=") else ()
    return ("strace", "-D", "-f", *quick, "-o", "/dev/null", *inject)


def _tracers(pid: int) -> set[int]:
    """Who traces the threads of a process; 0 is nobody."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):  # threads come and go
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            found.add(int(lines["TracerPid"]))
    return found


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ATTACH_S_MAX
    while not is_so():
        assert time.monotonic() < deadline, "strace did not come"
        time.sleep(0.01)


class SmallDisk:
    """A file system of its own, whose room can be used up and given back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, room_bytes: int) -> None:
        """Leave about so much room, or none at all."""
        chunk = bytes(64 * KIB if room_bytes else 4 * KIB)
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while not room_bytes or self._free_bytes() > room_bytes:
                file.write(chunk)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def _free_bytes(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize


def may_mount() -> bool:
    """Whether this process may mount file systems."""
    return subprocess.run(("unshare", "--mount", "true"), capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A disk of SMALL_DISK_BYTES in memory, mounted on a new folder."""
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "lognode-test", folder), check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)


@contextmanager
def no_file_may_grow(pid: int, bytes_max: int) -> Iterator[None]:
    """While inside, a process can write to files up to `bytes_max` only, as under a quota."""
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
