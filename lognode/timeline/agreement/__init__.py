"""What all nodes come to agree on from the spans that they hold: order, state, forks."""
