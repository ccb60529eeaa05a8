"""Keys of a node, what follows from them, and the file that keeps their seed."""
