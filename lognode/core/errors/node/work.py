"""Errors of the node at work, and of its clients."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    ("writer.busy", "node", 503, True, "Node is busy", "Send again after Retry-After seconds."),
    (
        "writer.failed",
        "node",
        503,
        True,
        "Write failed",
        "Send again with the same idempotency key; 'lognode verify' if it stays.",
    ),
    ("disk.full", "node", 507, True, "Disk full", "Free some space; nothing acknowledged was lost."),
    (
        "mirror.unwritable",
        "node",
        500,
        True,
        "Mirror not writable",
        "Check owner, permissions and mount of mirror_dir; the mirror goes on by itself.",
    ),
    (
        "mirror.foreign",
        "node",
        409,
        False,
        "Mirror of another history",
        "Move the tenant's directory out of mirror_dir; a new one is written.",
    ),
    ("node.stopping", "node", 503, True, "Node is stopping", "Send again when it is back."),
    ("node.not_ready", "node", 503, True, "Node is not ready", "See the daemon's log."),
    ("node.internal", "node", 500, False, "Internal error", "This is a bug of lognode; the log has the details."),
    ("client.unreachable", "node", 503, True, "Node not running", "Start it with 'lognode up'."),
    ("client.protocol", "node", 502, False, "Unexpected answer", "Check that the URL is a lognode's, and see its log."),
)
