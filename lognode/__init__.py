"""lognode: a federated node daemon that keeps a verifiable timeline of signed spans."""

__version__ = "0.1.0"
