"""Notices that two live copies of one node speak, before their feeds fork.

Each process of a node has a random name, which it says whenever it begins to talk. A restart brings a new one, and the
old one never again: a name that comes back after another was heard is that of a second copy. Knows no sockets.
"""

from typing import Final

from lognode.core.limits import CLONE_SHOWN_S

_NAMES_MAX: Final = 4  # restarts within the time that copies take turns


class Instances:
    """The names of the processes of other nodes, newest last."""

    def __init__(self) -> None:
        self._heard: dict[bytes, list[bytes]] = {}
        self._cloned_s: dict[bytes, float] = {}  # when a copy was last noticed
        self._told: dict[bytes, list[bytes]] = {}  # processes that know of it

    def hear(self, node_key: bytes, instance: bytes, now_s: float) -> bool:
        """Whether a process of a node that says this name shows that there are two; heard on each new talk."""
        names = self._heard.setdefault(node_key, [])
        if names and names[-1] == instance:
            return False
        is_back = instance in names
        if is_back:
            names.remove(instance)
            self._cloned_s[node_key] = now_s
        names.append(instance)
        del names[:-_NAMES_MAX]
        return is_back

    def is_to_be_told(self, node_key: bytes, instance: bytes, now_s: float) -> bool:
        """Whether a process of a node of which two run was not told so before; it is by this."""
        told = self._told.setdefault(node_key, [])
        if instance in told or not self.is_cloned(node_key, now_s):
            return False
        told.append(instance)
        del told[:-_NAMES_MAX]
        return True

    def is_cloned(self, node_key: bytes, now_s: float) -> bool:
        """Whether two copies of a node were noticed not long ago."""
        since_s = self._cloned_s.get(node_key)
        return since_s is not None and now_s - since_s < CLONE_SHOWN_S

    def forget(self, node_key: bytes) -> None:
        """Drop a node that is nobody's member any longer."""
        self._heard.pop(node_key, None)
        self._cloned_s.pop(node_key, None)
        self._told.pop(node_key, None)
