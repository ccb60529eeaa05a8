"""Records an order from placed to shipped, each step with its cause, and reads the trail back.

    python docs/examples/audit_trail.py 17

Run it again: nothing is recorded twice, since each step has its idempotency key.
"""

import sys

from lognode.client import Client, Draft, Filter, connect


def record_order(client: Client, order: str) -> str:
    """The id of the span that shipped the order."""
    subject = f"order:{order}"

    def step(name: str, cause: str | None = None, **data: object) -> str:
        draft = Draft(
            kind=f"order.{name}",
            title=f"Order {order} {name}",
            subject=subject,
            workflow_id="checkout",
            caused_by=cause,
            data=data or None,
        )
        return client.append(draft, idempotency_key=f"{subject} {name}")["id"]

    placed = step("placed", amount="120.00", currency="EUR")
    paid = step("paid", placed, method="card")
    packed = step("packed", paid, boxes=1)
    return step("shipped", packed, carrier="post")


def main(order: str) -> None:
    with connect() as client:
        shipped = record_order(client, order)

        print(f"What happened to order {order}:")
        for span in client.spans(Filter(subject=f"order:{order}")):
            print(f"  {span['at']}  {span['kind']:<14} {span['data']}")

        print("Why it was shipped:")
        for cause in client.causes(shipped)["spans"]:
            print(f"  {cause['depth']} step(s) before: {cause['title']}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "17")
