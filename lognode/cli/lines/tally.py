"""What became of the spans of a command that takes many, and how that is told: in words, as JSON, as a bar."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lognode.cli.lines.copies import LEFT_OUT, LeftOut


@dataclass
class Tally:
    """What is known to be in, or with `is_dry` what would be; and what was left out on purpose, by its reason."""

    added: int = 0
    already_there: int = 0
    held: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    is_dry: bool = False

    @property
    def total(self) -> int:
        """All that was looked at."""
        return self.added + self.already_there + self.held + self.left_out.total()

    def add(self, added: object, already_there: object, held: object = None) -> None:
        """Count an answer, or what an error says was in before it."""
        self.added += added if isinstance(added, int) else 0
        self.already_there += already_there if isinstance(already_there, int) else 0
        self.held += held if isinstance(held, int) else 0

    def add_others(self, others: Sequence[LeftOut | None]) -> None:
        """Count spans that are not sent; None is one that is there already."""
        self.left_out.update(other.reason for other in others if other is not None)
        self.already_there += others.count(None)

    def answer(self, name: str) -> dict[str, object]:
        """All counts, for JSON; `name` is what they count."""
        counts = {"added": self.added, "already_there": self.already_there, "left_out": dict(self.left_out)}
        held = {"held": self.held} if self.held else {}
        return {name: self.total, **counts, **held, **({"dry_run": True} if self.is_dry else {})}

    def text(self, one: str, many: str) -> str:
        """All counts, in words."""
        would = "would be " if self.is_dry else ""
        word = one if self.total == 1 else many
        said = f"{self.total} {word}: {self.added} {would}added, {self.already_there} already there"
        if self.held:
            said += f", {self.held} {would}{'waiting' if would else 'wait'} for approval"
        if self.left_out:
            said += f", {self.left_out.total()} left out ({_reasons(self.left_out)})"
        return said


def _reasons(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {LEFT_OUT[reason][count != 1]}" for reason, count in left_out.items())


@contextmanager
def progress(total: int | None, many: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal: fed with how many there are so far, and how far of `total` that is."""
    if not sys.stderr.isatty():
        yield lambda _count, _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    start_s = time.monotonic()
    columns = (
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"0 {many}", total=total)

        def show(count: int, done: int) -> None:
            rate = count / max(time.monotonic() - start_s, 0.001)
            bar.update(task, completed=done, description=f"{count:,} {many}, {rate:,.0f}/s")

        yield show
