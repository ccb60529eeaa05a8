"""The Python SDK: append, query, follow and prove on a node, from any program.

    with connect(data_dir=Path("/var/lib/lognode")) as client:
        receipt = client.append(Draft(kind="order.paid", title="Order 17", data={"amount": 12}))
        for span in client.spans(Filter(kinds=("order.paid",))):
            print(span["id"], span["title"])

It knows no daemon package: what it shares with the node are the words and errors of `lognode.core`.
"""

from lognode.client.answers import Appended, Arrival, Node, Page, Receipt, Span, Stats, Walk
from lognode.client.client import Client, connect
from lognode.client.draft import Draft
from lognode.client.filter import Filter

__all__ = [
    "Appended",
    "Arrival",
    "Client",
    "Draft",
    "Filter",
    "Node",
    "Page",
    "Receipt",
    "Span",
    "Stats",
    "Walk",
    "connect",
]
