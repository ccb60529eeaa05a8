"""What a node does later: tasks, schedules, and what carries them out."""
