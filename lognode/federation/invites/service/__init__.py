"""Invites at work: admitting joiners, and joining."""
