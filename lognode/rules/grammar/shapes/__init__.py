"""What a document is made of: each part from its nodes to its values."""
