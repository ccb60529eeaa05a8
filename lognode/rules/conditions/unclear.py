"""What is neither true nor false."""


class Unclear(Exception):
    """What a condition comes to, or reads, cannot be told; the message says why. Its rule fails, alone and visibly."""
