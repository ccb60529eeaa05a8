"""The side that dials: a task for each tie, its sessions, and their comparisons."""
