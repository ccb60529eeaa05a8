"""What is done to the machines of a world."""
