"""Access: deny by default."""

import pytest

from lognode.core.access import Action, Principal, Role, allow
from lognode.core.ids import LogLine, TenantId

HERE, THERE = TenantId(b"h" * 20), TenantId(b"t" * 20)
WHO = LogLine(b"\x02" + bytes(32))


@pytest.mark.parametrize("action", list(Action))
def test_nobody_may_do_anything_without_a_principal(action: Action) -> None:
    assert not allow(None, action, HERE)
    assert not allow(None, action, None)


@pytest.mark.parametrize("action", list(Action))
def test_the_node_admin_may_do_everything(action: Action) -> None:
    assert allow(Principal.admin(WHO), action, HERE)
    assert allow(Principal.admin(WHO), action, None)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (
            Role.VIEWER,
            {
                Action.SPAN_READ,
                Action.PROOF_READ,
                Action.STATS_READ,
                Action.MEMBER_READ,
                Action.SYNC_READ,
                Action.RULE_READ,
                Action.APPROVAL_READ,
                Action.SUBSCRIPTION_READ,
            },
        ),
        (
            Role.MEMBER,
            {
                Action.SPAN_READ,
                Action.PROOF_READ,
                Action.STATS_READ,
                Action.MEMBER_READ,
                Action.SYNC_READ,
                Action.RULE_READ,
                Action.APPROVAL_READ,
                Action.TASK_READ,
                Action.SYNC_START,
                Action.SPAN_APPEND,
                Action.BUNDLE_CREATE,
                Action.SUBSCRIPTION_READ,
                Action.SUBSCRIPTION_USE,
            },
        ),
        (
            Role.OWNER,
            set(Action) - {Action.NODE_READ, Action.METRICS_READ, Action.NODE_JOIN, Action.STATE_REBUILD},
        ),
    ],
)
def test_a_role_counts_in_its_tenant_alone(role: Role, allowed: set[Action]) -> None:
    someone = Principal("someone", WHO, roles={HERE: role})
    assert {action for action in Action if allow(someone, action, HERE)} == allowed
    assert not any(allow(someone, action, tenant) for action in Action for tenant in (THERE, None))
