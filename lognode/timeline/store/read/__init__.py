"""Everything that is read from the store for others: pages, single spans, proofs, full text."""
