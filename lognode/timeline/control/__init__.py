"""Control spans: what their data holds, and whether it is bound to the keys that it names."""
