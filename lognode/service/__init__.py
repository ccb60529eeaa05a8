"""The node as a service of its machine: its log, its signals, and what it and systemd tell each other."""
