"""Errors of this node: its files, its identity, its work."""
