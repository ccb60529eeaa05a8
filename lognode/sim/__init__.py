"""Many nodes in one process, on a network and clocks made from a seed."""
