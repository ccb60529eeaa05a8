"""From ranges of other nodes to the rows of one commit: pure plans."""
