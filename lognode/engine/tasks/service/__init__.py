"""Tasks at work: what runs them, and how webhooks are called."""
