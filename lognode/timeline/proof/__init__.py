"""The tree of a feed, its signed heads, and proofs that others can check; pure."""
