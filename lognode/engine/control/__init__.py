"""Control spans on their way in: what is known of them, and the plans that open tenants and feeds."""
