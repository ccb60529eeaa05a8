"""The other nodes: invites, discovery, transport, sync."""
