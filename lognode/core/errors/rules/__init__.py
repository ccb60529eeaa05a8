"""Rows of errors about rules and what they do."""
