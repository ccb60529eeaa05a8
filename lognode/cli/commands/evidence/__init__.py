"""Commands that show on what grounds something stands: proofs, causal order, state, forks."""
