"""Control spans about conflicts: what their data holds.

Owns `tenant.policy`. Source: docs/protocol.md, Control spans.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.span import is_kind, is_reserved
from lognode.timeline.control.shape import elements, fault_of_after

LATEST: Final = "latest"  # of spans that know nothing of each other the greatest id holds
MANUAL: Final = "manual"  # none holds until somebody decides
POLICIES: Final = (LATEST, MANUAL)


class TenantPolicy(NamedTuple):
    """The data of `tenant.policy`, in the order of its encoding."""

    after: list[SpanId]
    kind: str
    policy: str


def tenant_policy_data(after: Sequence[SpanId], kind: str, policy: str) -> bytes:
    """The data of the `tenant.policy` by which conflicts between spans of a kind are settled so."""
    return encode([sorted(set(after)), kind, policy])


def parse_tenant_policy(data: bytes) -> TenantPolicy:
    """The parts of `tenant.policy`. Raises CallerError("body.malformed")."""
    said = TenantPolicy(*elements("tenant.policy", data, len(TenantPolicy._fields)))  # type: ignore[arg-type]
    fault = fault_of_after(said.after) or _fault_of_kind(said.kind)
    if not fault and said.policy not in POLICIES:
        fault = f"policy is none of {', '.join(POLICIES)}"
    if fault:
        raise CallerError("body.malformed", f"tenant.policy: {fault}")
    return said


def _fault_of_kind(kind: object) -> str | None:
    if kind.__class__ is not str or not is_kind(kind):
        return "kind is not well formed"
    return "kind is reserved" if is_reserved(kind) else None
