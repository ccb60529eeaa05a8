"""The HTTP, WebSocket and SSE interface of a node, and who may use it."""
