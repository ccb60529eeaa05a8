"""Commands that keep a node from being lost: backup create, verify and restore."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from lognode import __version__
from lognode.cli.commands.daemon import next_commands
from lognode.cli.commands.evidence.checking import EXIT_DAMAGED, print_finding
from lognode.cli.files import NOTHING_WRITTEN
from lognode.cli.options import DataDir, Flag, Json, read_file
from lognode.cli.output import flush, print_json, print_rows, print_text, progress, say, told_if_stopped
from lognode.settings import check_settings, find_data_dir

if TYPE_CHECKING:
    from lognode.timeline.store.backup.manifest import Manifest

MB: Final = 1_000_000
EXIT_INTERRUPTED: Final = 130  # as after Ctrl-C


def backup_create(folder: Path, /, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Copy a node into a new directory, while it runs or not.

    The copy holds database, key and settings. Every span that was acknowledged before the backup began is in it. The
    directory appears when it is whole.

    Parameters
    ----------
    folder
        The directory to make; it may exist if it is empty.

    Examples
    --------
    $ lognode backup create /mnt/disk/lognode-monday
    """
    from lognode.timeline.store.backup.creation import create_backup

    here = _data_dir(data_dir)
    with _interruptible(), progress("Copying") as show:
        manifest = create_backup(here, folder, version=__version__, now_ms=time.time_ns() // 1_000_000, progress=show)
    if json:
        print_json(_fields(folder, manifest))
        return
    print_rows({"Backup": folder, **_rows(manifest)})
    flush()
    say("It holds the node's key and all that was recorded: keep it as safe as the node itself.")


def backup_verify(folder: Path, /, *, json: Flag = False) -> int:
    """Check every file of a backup, its key, and its whole history.

    Parameters
    ----------
    folder
        The backup.
    json
        Answer as JSON, errors too.

    Examples
    --------
    $ lognode backup verify /mnt/disk/lognode-monday

    Notes
    -----
    Exit code 0 when nothing is damaged, 1 otherwise.
    """
    from lognode.timeline.store.backup.verification import read_manifest, verify_backup

    manifest = read_manifest(folder)
    with told_if_stopped("Stopped; the backup is not verified."), progress("Verifying") as show:
        findings = verify_backup(folder, manifest, show)
    for finding in findings:
        print_finding(finding, as_json=json)
    if any(finding.severity == "damage" for finding in findings):
        return EXIT_DAMAGED
    if json:
        print_json({"ok": True, **_fields(folder, manifest)})
    else:
        print_text(f"The backup of {manifest.at} is as it was made: {manifest.spans:,} spans.")
    return 0


def backup_restore(folder: Path, /, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Make a node from a backup, in a data directory that holds none.

    The backup is verified first. The node goes on in new feeds, for it may have written more after the backup. Its
    token is a new one.

    Parameters
    ----------
    folder
        The backup.

    Examples
    --------
    $ lognode backup restore /mnt/disk/lognode-monday --data-dir ~/lognode-again
    """
    import trio

    from lognode.timeline.store.backup.restoration import restore_backup

    here = _data_dir(data_dir)
    with _interruptible(), progress("Verifying") as show:
        manifest = trio.run(restore_backup, folder, here, show)
    if json:
        print_json({"data_dir": str(here), **_fields(folder, manifest)})
        return
    print_rows({"Restored": here, **_rows(manifest), **next_commands(data_dir, is_running=False)})
    flush()
    say("Its first write opens a new feed. The node that it was copied from must not run beside it.")
    for problem in check_settings({"data_dir": here}, {}, read_file, Path.resolve).problems:
        say(f"Before you start it, see to {problem.place}: {problem.detail}")


@contextmanager
def _interruptible() -> Iterator[None]:
    """While inside, what ends a process is as Ctrl-C, so that no copy of a key stays behind."""
    # One that is ignored stays so, as SIGHUP under nohup.
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    came = list[int]()

    def as_ctrl_c(number: int, _frame: object) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    for number in ending:
        signal.signal(number, as_ctrl_c)
    try:
        with told_if_stopped(NOTHING_WRITTEN):
            yield
    except KeyboardInterrupt:
        if came:
            raise SystemExit(EXIT_INTERRUPTED) from None  # nobody pressed Ctrl-C: do not die of it
        raise
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def _data_dir(given: Path | None) -> Path:
    return find_data_dir({"data_dir": given}, os.environ, read_file)


def _rows(manifest: "Manifest") -> dict[str, object]:
    return {
        "Node": manifest.node,
        "Made": manifest.at,
        "Spans": f"{manifest.spans:,}",
        "Size": f"{manifest.bytes / MB:,.1f} MB",
    }


def _fields(folder: Path, manifest: "Manifest") -> dict[str, object]:
    """All that the manifest says, and what it comes to."""
    return {"backup": str(folder), "spans": manifest.spans, "bytes": manifest.bytes, **msgspec.to_builtins(manifest)}
