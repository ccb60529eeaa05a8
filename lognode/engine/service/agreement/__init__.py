"""What the node does by itself so that nodes agree."""
