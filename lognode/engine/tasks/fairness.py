"""Which of the tasks that are due begin now.

Pure. Invariants: no tenant has more than its share of the room for any kind, and no webhook more than its own, so that
one that hangs leaves room to others; no tenant waits while one with more tasks under way is served, unless what it
waits for has no room; within a tenant the lowest priority number goes first, then what was ready first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lognode.core.limits import TASKS_RUNNING_EACH_MAX, TASKS_RUNNING_MAX, TENANT_SHARES, WEBHOOK_RUNNING_EACH_MAX


class Candidate(NamedTuple):
    """A task that is due."""

    priority: int
    ready_ms: int
    id: bytes
    what: str
    target: str = ""


class Running(NamedTuple):
    """A task that is under way."""

    tenant: int
    what: str
    target: str = ""


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
    targets_max: int = WEBHOOK_RUNNING_EACH_MAX,
    each_max: int = TASKS_RUNNING_EACH_MAX,
    total_max: int = TASKS_RUNNING_MAX,
    shares: int = TENANT_SHARES,
) -> list[Chosen]:
    """The tasks that begin, in that order.

    `due` are those of each tenant; `kinds_max` bounds those of one kind that are under way at once, of which a tenant
    has one of so many `shares`, but one at least; `targets_max` bounds those of one target, `each_max` those of one
    tenant. The tenant with the fewest under way comes first, of several the next one behind `last`, by their numbers,
    around.
    """
    running = list(running)
    by_tenant = Counter(task.tenant for task in running)
    by_kind = Counter(task.what for task in running)
    by_both = Counter((task.tenant, task.what) for task in running)
    by_target = Counter(task.target for task in running)
    queues = {tenant: sorted(candidates) for tenant, candidates in due.items()}
    chosen: list[Chosen] = []
    total = len(running)

    def able_to_begin(tenant: int) -> Callable[[Candidate], bool]:
        """Whether a task of a tenant may begin."""
        return lambda each: (
            by_kind[each.what] < kinds_max[each.what]
            and by_both[tenant, each.what] < max(1, kinds_max[each.what] // shares)
            and not (each.target and by_target[each.target] >= targets_max)
        )

    while total < total_max:
        able = [
            (by_tenant[tenant], tenant <= last, tenant, at)
            for tenant, queue in queues.items()
            if by_tenant[tenant] < each_max and (at := _first(queue, able_to_begin(tenant))) is not None
        ]
        if not able:
            break
        _, _, last, at = min(able)
        candidate = queues[last].pop(at)
        chosen.append(Chosen(last, candidate))
        by_tenant[last] += 1
        by_kind[candidate.what] += 1
        by_both[last, candidate.what] += 1
        by_target[candidate.target] += 1
        total += 1
    return chosen


def _first(queue: Sequence[Candidate], is_able: Callable[[Candidate], bool]) -> int | None:
    """The place of the first candidate that has room."""
    return next((at for at, each in enumerate(queue) if is_able(each)), None)
