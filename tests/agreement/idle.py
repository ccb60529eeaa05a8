"""Three real daemons in which nobody writes: how much they write and how much they work all the same.

`scripts/idle` runs this as a program: `python -m tests.agreement.idle --seconds 600`.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.federation.daemons import Node, wait_equal, wait_for

NAMES: Final = ("first", "second", "third")
_TICKS_S: Final = 100  # of /proc: what USER_HZ is on every Linux


class Idleness(NamedTuple):
    """What a federation did in a time in which nobody asked for anything: spans written, CPU seconds of each node."""

    spans: int
    cpu_s: dict[str, float]


@contextmanager
def federation(folder: Path) -> Iterator[Sequence[Node]]:
    """Three writers of one tenant who hold the same; each has written a span, and all is merged."""
    with ExitStack() as closing:
        nodes = []
        for name in NAMES:
            nodes.append(Node(folder, name))
            closing.callback(nodes[-1].stop)
        for node in nodes[1:]:
            node.client.join(nodes[0].client.create_invite()["invite"])
        wait_equal(*nodes)
        for node in nodes:
            node.append("something")
        wait_equal(*nodes)
        settle(nodes)
        yield nodes


def settle(nodes: Sequence[Node]) -> None:
    """Return once every node has cosigned what every other one wrote last."""
    wait_for(lambda: all(cosigners(node) == len(nodes) - 1 for node in nodes))
    wait_equal(*nodes)


def cosigners(node: Node) -> int:
    """How many others have cosigned the newest tree of a node's own feed that has any cosignature."""
    return node.client.checkpoint(cosigned=True).decode().count("/witness/")


def watch(nodes: Sequence[Node], seconds: float) -> Idleness:
    """What happens while nobody asks."""
    before, worked = [node.client.stats()["spans"] for node in nodes], [cpu_s(node) for node in nodes]
    time.sleep(seconds)
    worked = [round(cpu_s(node) - was, 2) for node, was in zip(nodes, worked, strict=True)]
    after = [node.client.stats()["spans"] for node in nodes]
    spans = sum(later - was for was, later in zip(before, after, strict=True))
    return Idleness(spans, dict(zip(NAMES, worked, strict=True)))


def cpu_s(node: Node) -> float:
    """CPU seconds that a daemon has used."""
    fields = Path(f"/proc/{node.daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    with TemporaryDirectory() as folder, federation(Path(folder)) as nodes:
        spans, cpu = watch(nodes, seconds)
    each = ", ".join(f"{name} {used:.2f} s ({100 * used / seconds:.2f} %)" for name, used in cpu.items())
    print(f"{seconds:.0f} s without a request: {spans} spans written; CPU of {each}")
    raise SystemExit(1 if spans else 0)


if __name__ == "__main__":
    main()
