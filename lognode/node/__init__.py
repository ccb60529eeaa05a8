"""The composition root: builds a node's parts, owns the one nursery, starts and stops in order.

The only package that knows every part.
"""

from lognode.node.parts import NodeInfo, real_world
from lognode.node.running import init_node, run_node
from lognode.node.subsystems import REGISTRATIONS

__all__ = ["REGISTRATIONS", "NodeInfo", "init_node", "real_world", "run_node"]
