"""What a node serves other nodes, and what a stranger has to pass before it is served."""
