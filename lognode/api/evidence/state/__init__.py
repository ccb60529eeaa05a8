"""Routes about state: what spans come to, and deciding it."""
