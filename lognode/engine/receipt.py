"""What an append answers."""

import msgspec

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a span stands: given out only after its commit was fsynced.

    `checkpoint_size` is the size of a signed checkpoint that covers it; `duplicate` says that an earlier
    request with the same idempotency key wrote it. `held` says that it is no span of the draft's, but the firing that
    tells that the draft waits for approval.
    """

    id: SpanId
    feed: FeedId
    seq: int
    position: int
    leaf: bytes
    checkpoint_size: int
    duplicate: bool = False
    held: bool = False


class AppendStopped(Exception):
    """A draft in the middle of a call was refused: those before it are in, it and the rest are not."""

    def __init__(self, receipts: list[Receipt], error: CallerError) -> None:
        super().__init__(str(error))
        self.receipts = receipts  # of the drafts before; their count is the index of the refused one
        self.error = error
