"""What the conditions of rules say about facts, and how that is told."""
