"""The `lognode` command: what a person or a script says to a node, and how its answers look.

Data goes to stdout, messages to stderr. Talks to a running node through `lognode.client` alone; only
`verify` and `check-proof` read bytes themselves, since their point is not to trust a node.
"""
