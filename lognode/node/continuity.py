"""Where a node runs, as the machine says, and what became of it since it ran last."""

from pathlib import Path
from typing import Final

from lognode.engine.service.agreement.doubts import Beginning
from lognode.timeline.agreement.continuity import Mark, judge, seal_mark
from lognode.timeline.store.agreement.continuity import read_mark, write_mark
from lognode.timeline.store.database import Store

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID: Final = Path("/etc/machine-id")


def observe(database: Path, key: Path) -> Mark:
    """Where a node on these files runs now; what a system does not say is ""."""
    found, sealed = database.stat(), key.stat()
    return Mark(_read(_BOOT_ID), _read(_MACHINE_ID), found.st_dev, found.st_ino, sealed.st_ctime_ns)


async def begin(store: Store, key: Path) -> Beginning:
    """How a process that has opened this database begins."""
    now = observe(store.path, key)
    mark, before = seal_mark(now), await store.write(read_mark)
    if before is None and not store.feeds:  # a new node
        await store.write(write_mark, mark)
        return Beginning()
    return Beginning(judge(before, now), None if mark == before else mark)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
