"""Its rows about rules."""
