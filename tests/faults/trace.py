"""What strace writes about a program, as operations on the files of one directory. Pure.

Owns the calls that are recorded and how they are written. Invariant: a call that could change a file and is not
understood is an error, never passed over. SQLite's -shm file is left out: it is memory that processes share, and
the first to open the database makes it anew, whatever a disk may have kept of it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.faults.disk import Create, Event, Rename, Sent, Sync, Truncate, Write

# By these a file's content and name change here; the ones that nobody uses now are traced to be noticed.
CALLS: Final = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,"
    "write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,sendto,sendmsg"
)
# Everything in hexadecimal, so that no text can look like a part of the trace; a file descriptor with its path.
STRACE: Final = ("strace", "-f", "-y", "-xx", "-s", "16777216", "--seccomp-bpf", "-A", "-e", f"trace={CALLS}")
WAKE_UP: Final = b"\x00"  # by which trio's threads wake its loop
SHARED_MEMORY: Final = "-shm"

_LINE: Final = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>|(\w+)\()(.*)")
_TEXT: Final = re.compile(r'(?:\d+<|")((?:\\x[0-9a-f]{2})*)(?:>|")')
_UNFINISHED: Final = " <unfinished ...>"


class _Folder:
    """The directory whose files count, as part of `parent`."""

    def __init__(self, data_dir: Path) -> None:
        self._parent, self._name = data_dir.parent, data_dir.name

    def name_of(self, text: bytes) -> str | None:
        """A path as the disk names it; None when it is elsewhere, or not to be looked at."""
        path = Path(text.decode(errors="replace"))
        if path == self._parent:
            return "."
        if not path.is_relative_to(self._parent / self._name) or path.name.endswith(SHARED_MEMORY):
            return None
        return str(path.relative_to(self._parent))


def parse_trace(lines: Iterable[str], data_dir: Path) -> list[Event]:
    """What was done to the files of a data directory and sent by sockets, in the order in which it began."""
    events: list[Event] = []
    folder = _Folder(data_dir)
    for began, ended, call, arguments, result in _calls(lines):
        if result.startswith("-1 "):
            continue
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
        operation = _operation(call, arguments, texts, result, folder)
        if operation is not None:
            events.append(Event(began, ended, operation))
    return sorted(events, key=lambda event: event.began)


def _calls(lines: Iterable[str]) -> Iterator[tuple[int, int, str, str, str]]:
    """Lines of beginning and end, name, arguments and result of every call."""
    open_calls: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue  # a signal, or an end
        thread, call, rest = found.groups()
        began = number
        if call is None:
            began, call, before = open_calls.pop(thread)
            rest = before + rest
        elif rest.endswith(_UNFINISHED):
            open_calls[thread] = (number, call, rest.removesuffix(_UNFINISHED))
            continue
        arguments, _, result = rest.rpartition(" = ")
        yield began, number, call, arguments, result
    assert not open_calls, f"calls have no end: {open_calls}"


def _operation(
    call: str, arguments: str, texts: Sequence[bytes], result: str, folder: _Folder
) -> Write | Truncate | Sync | Create | Rename | Sent | None:
    if call == "sendto":
        return Sent(texts[1][: int(result)]) if texts[1] != WAKE_UP else None
    # What follows a descriptor is content or a number, what follows a path may be another path.
    is_of_descriptor = arguments[:1].isdigit()
    paths = [path for text in texts[: 1 if is_of_descriptor else 2] if (path := folder.name_of(text))]
    numbers = arguments.rstrip(") ").split(", ")
    if not paths or (call == "openat" and "O_CREAT" not in arguments):
        return None
    match call:
        case "openat" if "O_TRUNC" not in arguments:
            return Create(paths[0])
        case "write":
            return Write(paths[0], None, texts[1][: int(result)])
        case "pwrite64":
            return Write(paths[0], int(numbers[3]), texts[1][: int(result)])
        case "ftruncate":
            return Truncate(paths[0], int(numbers[1]))
        case "fsync" | "fdatasync":
            return Sync(paths[0])
        case "mkdir":
            return Create(paths[0], is_folder=True)
        case "link":
            return Rename({paths[1]: paths[0]})
        case "rename":
            return Rename({paths[1]: paths[0], paths[0]: None})
        case "unlink":
            return Rename({paths[0]: None})
    raise AssertionError(f"a call on the node's files that is not understood: {call}({arguments[:200]}")
