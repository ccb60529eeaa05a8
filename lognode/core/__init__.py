"""Values that every part shares. Knows no I/O and imports nothing of lognode."""
