"""What rules leave in a timeline: their texts, and notes beside spans."""
