"""A tenant of several nodes, written by hand: who founded it, whom it admitted and removed."""

from hashlib import sha256

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import PUBLIC
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.founding import tenant_create_data, tenant_id
from lognode.timeline.control.members import (
    join_statement,
    member_admit_data,
    member_level_data,
    member_remove_data,
    sign_join,
)
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from tests.engine.receivers import keys_of
from tests.timeline.pens import Pen

NONCE = bytes(16)


class Founder(Pen):
    """The node that founded the tenant."""

    def __init__(self) -> None:
        keys = keys_of(1)
        super().__init__(keys, tenant_id(keys.public, NONCE), [])
        self.newest = self.write(
            "tenant.create", tenant_create_data(keys, self.tenant, NONCE, [self.opening]), visibility=PUBLIC
        )

    def admit(self, keys: NodeKeys, level: Level = Level.TRUSTED) -> SpanId:
        nonce = sha256(b"%d" % len(self.entries)).digest()[:16]
        statement = join_statement(keys, self.tenant, None, self.keys.public, level, nonce)
        data = member_admit_data([self.newest], statement, sign_join(keys, self.tenant, statement, None))
        self.newest = self.write("member.admit", data, visibility=PUBLIC)
        return self.newest

    def change(self, keys: NodeKeys, level: Level, *cuts: tuple[Pen, int]) -> SpanId:
        data = member_level_data([self.newest], keys.public, level, [_cut(pen, size) for pen, size in cuts])
        self.newest = self.write("member.level", data, visibility=PUBLIC)
        return self.newest

    def remove(self, keys: NodeKeys, *cuts: tuple[Pen, int]) -> SpanId:
        data = member_remove_data([self.newest], keys.public, [_cut(pen, size) for pen, size in cuts], "gone")
        self.newest = self.write("member.remove", data, visibility=PUBLIC)
        return self.newest

    def member(self, number: int) -> Pen:
        """A pen of a node that is admitted now."""
        keys = keys_of(number)
        return Pen(keys, self.tenant, [self.admit(keys)])


def _cut(pen: Pen, size: int) -> tuple[FeedId, int, bytes]:
    return pen.feed_id, size, root_of(grow(EMPTY, pen.leaves[:size]).border)
