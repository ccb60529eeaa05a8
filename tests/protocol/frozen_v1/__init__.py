"""What nodes say to each other: messages and state machines, without input or output."""
