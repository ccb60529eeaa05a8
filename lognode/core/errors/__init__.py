"""The one table of errors, and the exceptions that carry its codes.

A code is part of the API: it never changes its meaning. Blame is in the type: CallerError (answer it),
PeerError (drop that record or peer and go on), NodeFault (this node cannot do its work). The table's rows stand by
what they are about, a module each.
"""

from lognode.core.errors.raised import ERRORS, CallerError, LognodeError, NodeFault, PeerError
from lognode.core.errors.spec import ErrorSpec

__all__ = ["ERRORS", "CallerError", "ErrorSpec", "LognodeError", "NodeFault", "PeerError"]
