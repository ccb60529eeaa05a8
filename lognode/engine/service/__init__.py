"""The engine's running parts: the mailbox, the writer, and the heads that wake live tails."""
