"""What a node hands out for others to check without it."""
