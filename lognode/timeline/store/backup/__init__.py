"""Backups of a node: made while it runs or not, verified, restored."""
