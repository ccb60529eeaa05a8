"""How the writer works: what waits for it, and what it knows."""
