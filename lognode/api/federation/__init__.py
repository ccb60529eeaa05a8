"""Other nodes: invites, members, joining, sync."""
