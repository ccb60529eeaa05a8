"""CEL expressions: what they may say, what they read, what they cost, and their evaluation."""
