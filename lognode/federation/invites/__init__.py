"""Invites: the text that lets a node in, what a joiner and a root say to each other, what a root does about it."""
