"""Every bound of lognode, with its unit last and its reason.

Owns numbers only. The ones under "format" belong to format version 1: a change there is a new format,
because two nodes that disagree on them would disagree on what is void.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Format. Small enough to hold in memory many times over, large enough for a status page or a document.
FORMAT_VERSION: Final = 1
HEADER_BYTES_MAX: Final = KIB
BODY_BYTES_MAX: Final = MIB
DEPTH_MAX: Final = 16  # nesting of arrays and maps in data, metadata and annotations
KIND_BYTES_MAX: Final = 64
TAGS_MAX: Final = 64
RELATED_MAX: Final = 64
TEXT_BYTES_MAX: Final = 4 * KIB  # title, subject, the three ids, one tag: they are shown and indexed whole

# Requests. A line may be larger than the body it makes, since JSON escapes cost up to six times.
DRAFT_LINE_BYTES_MAX: Final = 2 * MIB
IDEMPOTENCY_KEY_BYTES_MAX: Final = 256
PAGE_SPANS_DEFAULT: Final = 100
PAGE_SPANS_MAX: Final = 1000
WALK_SPANS_MAX: Final = 1000  # one answer of causes or effects
SOCKET_APPENDS_MAX: Final = 1024  # unacknowledged appends of one WebSocket; beyond, it is not read

# Writer. One group is one transaction and one fsync: beyond 1,024 spans the fsync is no longer what costs.
GROUP_SPANS_MAX: Final = 1024
GROUP_BYTES_MAX: Final = 4 * MIB
MAILBOX_SPANS_MAX: Final = 8 * GROUP_SPANS_MAX  # about a quarter of a second of work
MAILBOX_BYTES_MAX: Final = 32 * MIB
BUSY_RETRY_S: Final = 1

# Time. A clock further ahead than this is taken for broken, not for fast.
CLOCK_AHEAD_MS_MAX: Final = 10 * 60 * 1000

# Sockets.
TAIL_HEARTBEAT_S: Final = 15  # below the usual 30 s of proxies
TAIL_SEND_S_MAX: Final = 60  # a reader that takes nothing for so long is gone
READY_S_MAX: Final = 5
DISK_FREE_BYTES_MIN: Final = 64 * MIB  # below, /readyz says no: room for a WAL and a checkpoint of it

# Store.
READERS: Final = 3  # two cores, plus one so that a long scan leaves a reader free
TENANT_SHIFT_BITS: Final = 40  # row = tenant << 40 | position: 10^12 spans a tenant, 8 million tenants
