"""Which of the tasks that are due begin now.

Pure. Invariants: no tenant waits while one with more tasks under way is served, unless what it waits for has no room;
within a tenant the lowest priority number goes first, then what was ready first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lognode.core.limits import TASKS_RUNNING_EACH_MAX, TASKS_RUNNING_MAX


class Candidate(NamedTuple):
    """A task that is due."""

    priority: int
    ready_ms: int
    id: bytes
    what: str


class Running(NamedTuple):
    """A task that is under way."""

    tenant: int
    what: str


class Chosen(NamedTuple):
    """A task that begins."""

    tenant: int
    candidate: Candidate


def choose(
    due: Mapping[int, Iterable[Candidate]],
    running: Iterable[Running],
    kinds_max: Mapping[str, int],
    last: int,
    *,
    each_max: int = TASKS_RUNNING_EACH_MAX,
    total_max: int = TASKS_RUNNING_MAX,
) -> list[Chosen]:
    """The tasks that begin, in that order.

    `due` are those of each tenant; `kinds_max` bounds those of one kind that are under way at once, as `each_max` does
    those of one tenant. The tenant with the fewest under way comes first, of several the next one behind `last`, by
    their numbers, around.
    """
    running = list(running)
    by_tenant = Counter(task.tenant for task in running)
    by_kind = Counter(task.what for task in running)
    queues = {tenant: sorted(candidates) for tenant, candidates in due.items()}
    chosen: list[Chosen] = []
    total = len(running)
    while total < total_max:
        able = [
            (by_tenant[tenant], tenant <= last, tenant, at)
            for tenant, queue in queues.items()
            if by_tenant[tenant] < each_max and (at := _first(queue, by_kind, kinds_max)) is not None
        ]
        if not able:
            break
        _, _, last, at = min(able)
        candidate = queues[last].pop(at)
        chosen.append(Chosen(last, candidate))
        by_tenant[last] += 1
        by_kind[candidate.what] += 1
        total += 1
    return chosen


def _first(queue: Sequence[Candidate], by_kind: Mapping[str, int], kinds_max: Mapping[str, int]) -> int | None:
    """The place of the first candidate whose kind has room."""
    return next((at for at, each in enumerate(queue) if by_kind.get(each.what, 0) < kinds_max[each.what]), None)
