"""Named subscriptions over HTTP and WebSocket."""
