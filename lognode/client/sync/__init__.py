"""The client for ordinary threads: made by `scripts/sync-client` from the one for trio, `lognode.client.aio`."""
