"""What the node keeps up behind the timeline, and runs again where it fails."""
