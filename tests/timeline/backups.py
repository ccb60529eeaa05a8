"""Backups for tests, of a node with something of everything that does not run."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lognode.identity.keyfile import seal_seed
from lognode.identity.store import write_secret_file
from lognode.timeline.store.backup.creation import create_backup
from lognode.timeline.store.backup.manifest import Manifest
from tests.engine.nodes import SEED
from tests.timeline.histories import write_history

NOW_MS: Final = 1_770_000_000_000


def ignore(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def write_node(folder: Path, passphrase: bytes | None = None) -> Path:
    """The data directory of a node with two tenants."""
    write_history(folder, spans=300)
    write_key(folder, SEED, passphrase)
    return folder


def write_key(folder: Path, seed: bytes, passphrase: bytes | None = None) -> None:
    """Put this key in place of the node's."""
    write_secret_file(folder / "node.key", seal_seed(seed, passphrase, random.Random(1).randbytes))


def back_up(data_dir: Path, folder: Path, progress: Callable[[int, int], None] = ignore) -> Manifest:
    """Make a backup in `folder`."""
    return create_backup(data_dir, folder, version="0.0.0", now_ms=NOW_MS, progress=progress)
