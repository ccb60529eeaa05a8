"""Named subscriptions: spans that somebody wants, each until it is acknowledged or parked."""
