"""Finding other nodes: multicast DNS, this machine's interfaces, and the directory of addresses."""
