"""Where a node runs, as the machine says, and what became of it since it ran last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

from lognode.engine.service.agreement.doubts import Beginning
from lognode.timeline.agreement.continuity import Mark, judge, look_back, seal_mark
from lognode.timeline.store.agreement.continuity import Watermark, count_spans, read_mark, write_mark
from lognode.timeline.store.database import Store

WATERMARK_NAME: Final = "continuity"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID: Final = Path("/etc/machine-id")


def observe(database: Path, key: Path) -> Mark:
    """Where a node on these files runs now; what a system does not say is ""."""
    found, sealed = database.stat(), key.stat()
    return Mark(_read(_BOOT_ID), _read(_MACHINE_ID), found.st_dev, found.st_ino, sealed.st_ctime_ns)


@asynccontextmanager
async def beginning(store: Store, key: Path) -> AsyncIterator[Beginning]:
    """How a process that has opened this database begins; while inside, it counts what it commits."""
    now = observe(store.path, key)
    mark, before = seal_mark(now), await store.write(read_mark)
    with closing(Watermark(store.path.with_name(WATERMARK_NAME))) as watermark:
        if before is None and not store.feeds:  # a new node
            await store.write(write_mark, mark)
            yield Beginning(note=watermark.write)
            return
        found = look_back(judge(before, now), watermark.read(), await store.write(count_spans))
        yield Beginning(found, None if mark == before else mark, note=watermark.write)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
