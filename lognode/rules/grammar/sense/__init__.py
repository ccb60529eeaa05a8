"""What no single part of a document shows: dependencies, rules that can never fire, expressions."""
