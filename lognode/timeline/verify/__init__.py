"""The audit of a whole history, pure: what contradicts what, and which side of it the signed tree says is wrong."""
