"""Having drafts wait, and ending that."""
