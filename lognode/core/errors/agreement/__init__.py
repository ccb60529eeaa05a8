"""Rows of errors about what anybody can check, and what nodes agree on."""
