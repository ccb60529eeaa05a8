"""Commands about other nodes."""
