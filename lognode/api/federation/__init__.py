"""Other nodes: invites, members, joining."""
