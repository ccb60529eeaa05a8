"""The client for trio, from which `scripts/sync-client` makes the one for threads, `lognode.client.sync`.

Deadlines and cancellation work at every await: what was being waited for is lost, and nothing else. A cancelled append
may or may not be recorded, and never twice: send it again with the idempotency key that it had. A tail or a walk
through spans goes on where it was.
"""
