"""What a node says of itself: identity, health, and the description of its API."""
