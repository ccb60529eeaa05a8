"""Spans over HTTP: append them one by one or as a stream, read them, walk them, prove them."""
