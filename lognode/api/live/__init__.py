"""Timelines as they grow: server-sent events and WebSockets."""
