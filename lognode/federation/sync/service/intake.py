"""Has stored what a peer sent, and keeps count of it."""

from collections.abc import Sequence

from lognode.core.errors import PeerError
from lognode.core.span import Foretold, Range
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie


async def take(
    tie: Tie, outside: Outside, ranges: Sequence[Range], foretold: Sequence[Foretold] = ()
) -> list[int | PeerError]:
    """For each range the size of its feed here once that is durable, or why it was refused. Raises NodeFault."""
    outcomes = await outside.writer.ingest(tie.tenant, ranges, foretold)
    # Behind those of the ranges stands why control spans were refused, if any were.
    for refused in outcomes[len(ranges) :]:
        if isinstance(refused, PeerError):
            tie.fail(refused)
    outcomes = outcomes[: len(ranges)]
    tie.count_taken(ranges, outcomes)
    return outcomes
