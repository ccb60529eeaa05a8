"""The types of a node's answers."""

from lognode.client.answers.node import (
    Appended,
    Arrival,
    Feed,
    Node,
    Page,
    Proven,
    Receipt,
    Reload,
    Span,
    Stats,
    Subsystem,
    Tenant,
    Walk,
    parse_answer,
)

__all__ = [
    "Appended",
    "Arrival",
    "Feed",
    "Node",
    "Page",
    "Proven",
    "Receipt",
    "Reload",
    "Span",
    "Stats",
    "Subsystem",
    "Tenant",
    "Walk",
    "parse_answer",
]
