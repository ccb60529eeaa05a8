"""Connections between nodes: who is at the other end, how much it may ask for, and when it ends."""
