"""The machines of a world, and what passes between two of them."""
