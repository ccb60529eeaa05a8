"""The commands, gathered by what they are for. Each is a function whose signature and docstring make its help."""
