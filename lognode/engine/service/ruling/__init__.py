"""What the node does by its tenants' rules."""
