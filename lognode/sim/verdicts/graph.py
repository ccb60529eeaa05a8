"""Who reaches whom: pieces of a graph of machines by their numbers, and how wide it is. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence

Edge = tuple[int, int]


def pieces(names: Iterable[int], edges: Sequence[Edge]) -> list[list[int]]:
    """The numbers in groups that reach each other."""
    found: list[list[int]] = []
    names = list(names)
    for name in names:
        if not any(name in piece for piece in found):
            reached = _distances(name, edges)
            found.append([other for other in names if other in reached])
    return found


def diameter(names: Iterable[int], edges: Sequence[Edge]) -> int:
    """The longest of the shortest ways between two."""
    return max(max(_distances(name, edges).values()) for name in names)


def _distances(start: int, edges: Sequence[Edge]) -> dict[int, int]:
    """How far it is from one to all that it reaches."""
    far = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for edge in edges:
            if name in edge:
                other = sum(edge) - name
                if other not in far:
                    far[other] = far[name] + 1
                    queue.append(other)
    return far
