"""What rules read of a timeline."""
