"""Routes about rules."""
