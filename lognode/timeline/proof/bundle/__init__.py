"""Bundles: signed, self-contained exports with their proofs, for readers without a node."""
