"""Named subscriptions while a node runs."""
