"""Who may do what: one function, one table.

Owns the decision, not how a caller proved who it is. Deny by default: what the table does not allow is
refused, and so is everything without a principal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType

from lognode.core.ids import LogLine, TenantId


class Role(IntEnum):
    """What a person, agent or app may do in a tenant; each includes the ones below."""

    VIEWER = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4


class Level(IntEnum):
    """What a member node may do in a tenant; each includes the ones below."""

    BLOCKED = 0
    OBSERVER = 1  # read; it has no feed
    TRUSTED = 2  # write
    ROOT = 3  # admit, remove, set policy


class Action(StrEnum):
    """What a route or frame does."""

    NODE_READ = "node.read"
    METRICS_READ = "metrics.read"
    SPAN_APPEND = "span.append"
    SPAN_READ = "span.read"
    PROOF_READ = "proof.read"
    BUNDLE_CREATE = "bundle.create"
    PRIVATE_BUNDLE = "private.bundle"  # with what otherwise never leaves the node
    STATS_READ = "stats.read"
    SYNC_READ = "sync.read"
    SYNC_START = "sync.start"  # have this node and others compared now
    ACTOR_ASSERT = "actor.assert"  # name an actor without the actor's signature
    ORIGIN_ASSERT = "origin.assert"  # say that a span is a copy of another
    POLICY_CHANGE = "policy.change"  # say how conflicts are settled
    STATE_REBUILD = "state.rebuild"
    RULE_READ = "rule.read"
    RULE_CHANGE = "rule.change"  # publish, disable
    MEMBER_READ = "member.read"
    MEMBER_CHANGE = "member.change"  # approve, remove, give another level
    INVITE_READ = "invite.read"  # without its secret
    INVITE_CHANGE = "invite.change"  # make one, revoke one
    PEERS_READ = "peers.read"  # addresses of members and of this machine's network
    APPROVAL_READ = "approval.read"
    APPROVAL_CHANGE = "approval.change"  # grant, deny, in the name of the node
    TASK_READ = "task.read"
    TASK_CHANGE = "task.change"  # cancel, queue again, pause; have others told; schedules
    SUBSCRIPTION_READ = "subscription.read"
    SUBSCRIPTION_USE = "subscription.use"  # consume, acknowledge, have tried again, park
    SUBSCRIPTION_CHANGE = "subscription.change"  # make one, delete one, set it to another place; replay what is parked
    NODE_JOIN = "node.join"  # become a member of a tenant of others


# The least role in the tenant; node.* and metrics.read have no tenant and ask for the node's administrator.
_LEAST: Mapping[Action, Role] = {
    Action.SPAN_READ: Role.VIEWER,
    Action.PROOF_READ: Role.VIEWER,
    Action.STATS_READ: Role.VIEWER,
    Action.SYNC_READ: Role.VIEWER,
    Action.SYNC_START: Role.MEMBER,
    Action.SPAN_APPEND: Role.MEMBER,
    Action.BUNDLE_CREATE: Role.MEMBER,  # the node signs it
    Action.PRIVATE_BUNDLE: Role.OWNER,
    Action.ACTOR_ASSERT: Role.OWNER,
    Action.ORIGIN_ASSERT: Role.OWNER,
    Action.POLICY_CHANGE: Role.OWNER,
    Action.RULE_READ: Role.VIEWER,
    Action.RULE_CHANGE: Role.OWNER,
    Action.MEMBER_READ: Role.VIEWER,
    Action.MEMBER_CHANGE: Role.OWNER,
    Action.INVITE_READ: Role.ADMIN,
    Action.PEERS_READ: Role.ADMIN,
    Action.INVITE_CHANGE: Role.OWNER,
    Action.APPROVAL_READ: Role.VIEWER,
    Action.APPROVAL_CHANGE: Role.OWNER,
    Action.TASK_READ: Role.MEMBER,  # they hold what is to be written, private spans too
    Action.TASK_CHANGE: Role.ADMIN,
    Action.SUBSCRIPTION_READ: Role.VIEWER,
    Action.SUBSCRIPTION_USE: Role.MEMBER,  # who consumes takes spans from the others at it
    Action.SUBSCRIPTION_CHANGE: Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose identity was proved, with its roles. The node's administrator owns every tenant of it."""

    name: str
    id: LogLine
    is_node_admin: bool = False
    roles: Mapping[TenantId, Role] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def admin(node: LogLine) -> "Principal":
        """The holder of the admin token, which acts as the node itself."""
        return Principal(name="admin", id=node, is_node_admin=True)


def allow(principal: Principal | None, action: Action, tenant: TenantId | None) -> bool:
    """Whether `principal` may do `action` in `tenant` (None: on the node as a whole)."""
    if principal is None:
        return False
    if principal.is_node_admin:
        return True
    if tenant is None or action not in _LEAST:
        return False
    role = principal.roles.get(tenant)
    return role is not None and role >= _LEAST[action]
