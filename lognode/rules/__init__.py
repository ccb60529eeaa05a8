"""Rules that gate what is written and react to it: documents, their grammar, conditions, evaluation."""
