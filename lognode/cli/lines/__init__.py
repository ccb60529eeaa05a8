"""Spans as lines of NDJSON, on their way into a node and out of it."""
