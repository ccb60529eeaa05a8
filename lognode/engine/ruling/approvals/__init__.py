"""What waits for approval: how it is kept and told of, and when enough have approved."""
