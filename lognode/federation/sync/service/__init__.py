"""The running parts of sync: links to peers, answers to them, and notices of what happens."""
