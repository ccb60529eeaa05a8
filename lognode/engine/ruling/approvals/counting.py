"""When enough members have approved a draft that waits, and when it waits no more.

Pure. Invariants: each node counts once; a node's word counts for what the node may do now, so that the approval of one
that was removed is none.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from lognode.core.access import Level
from lognode.core.ids import SpanId

ROOT: Final = "root"  # the role that nodes have which are root members; roles of people are not known yet


class Answer(NamedTuple):
    """What a node said about a draft that waits."""

    span: SpanId
    node_key: bytes
    is_denial: bool
    note: str


class Asking(NamedTuple):
    """Who wants something, and how many with the role have to approve it."""

    node_key: bytes
    role: str
    of: int


class Count(NamedTuple):
    """The approvals that count, one a node in their order; the denial that ends it, where there is one."""

    approvals: tuple[Answer, ...]
    denial: Answer | None

    def stands(self, of: int) -> Literal["waiting", "approved", "denied"]:
        """What it comes to."""
        if self.denial is not None:
            return "denied"
        return "approved" if len(self.approvals) >= of else "waiting"


def may_approve(asking: Asking, node_key: bytes, level: Level) -> bool:
    """Whether a node's approval counts. That of the node that asks does only where one is enough."""
    return asking.role == ROOT and level >= Level.ROOT and (node_key != asking.node_key or asking.of == 1)


def may_deny(asking: Asking, node_key: bytes, level: Level) -> bool:
    """Whether a node's denial counts: who may approve may deny, and who asks may take it back."""
    return node_key == asking.node_key or (asking.role == ROOT and level >= Level.ROOT)


def count(asking: Asking, answers: Sequence[Answer], level: Callable[[bytes], Level]) -> Count:
    """What answers come to, given the levels of nodes now."""
    approvals: dict[bytes, Answer] = {}
    denial = None
    for answer in answers:
        if answer.is_denial:
            if denial is None and may_deny(asking, answer.node_key, level(answer.node_key)):
                denial = answer
        elif may_approve(asking, answer.node_key, level(answer.node_key)):
            approvals.setdefault(answer.node_key, answer)
    return Count(tuple(approvals.values()), denial)
