"""What must be so at the end of a world."""
