"""Keeping timelines equal: what peers are told, and what is known of them."""
