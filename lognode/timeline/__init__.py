"""The record of a tenant: tree, checkpoints, proofs, queries, and the store that keeps them."""
