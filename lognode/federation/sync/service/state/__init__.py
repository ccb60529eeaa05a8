"""What is known of each tie, shared by the side that dials and the side that answers."""
