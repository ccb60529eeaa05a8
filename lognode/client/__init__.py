"""The Python SDK: append, query, follow and prove on a node, from any program.

    with connect(data_dir=Path("/var/lib/lognode")) as client:
        receipt = client.append(Draft(kind="order.paid", title="Order 17", data={"amount": 12}))
        for span in client.spans(Filter(kinds=("order.paid",))):
            print(span["id"], span["title"])

`connect_async` gives the same client for trio. It knows no daemon package: what it shares with the node are the words
and errors of `lognode.core`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lognode.client.answers import Appended, Arrival, Node, Page, Proven, Receipt, Span, Stats, Walk
from lognode.client.draft import Draft
from lognode.client.filter import Filter
from lognode.client.sync.client import Client, connect
from lognode.core.errors import CallerError, LognodeError, NodeFault

if TYPE_CHECKING:
    from lognode.client.aio.client import AsyncClient, connect_async
else:

    def __getattr__(name: str) -> Any:
        """The async names, whose modules are read only where they are used."""
        if name not in {"AsyncClient", "connect_async"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("lognode.client.aio.client"), name)


__all__ = [
    "Appended",
    "Arrival",
    "AsyncClient",
    "CallerError",
    "Client",
    "Draft",
    "Filter",
    "LognodeError",
    "Node",
    "NodeFault",
    "Page",
    "Proven",
    "Receipt",
    "Span",
    "Stats",
    "Walk",
    "connect",
    "connect_async",
]
