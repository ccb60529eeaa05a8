"""YAML and JSON as nodes that know where they stand."""
