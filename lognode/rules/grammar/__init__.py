"""Rule documents: from an author's text to a RuleSet, or to all its mistakes at once."""
