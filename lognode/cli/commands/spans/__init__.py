"""Commands that write spans, read them, and carry them from node to node."""
