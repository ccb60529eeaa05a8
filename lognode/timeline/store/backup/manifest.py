"""What a backup says of itself: backup.json, the list of its files with their hashes, and where its feeds stand.

Owns the format in both directions; touches no file. Invariant: a manifest has one text, and a seal over it, so a
flipped bit anywhere in it is found.
Source: docs/protocol.md, Backup.
"""

from hashlib import sha256
from typing import Final

import msgspec

from lognode.core.codec import parse_json
from lognode.core.errors import CallerError, NodeFault

FORMAT: Final = 1
MANIFEST: Final = "backup.json"
# Files of a data directory, named as there. admin.token, api.url and the lock are of one life of a node on one host.
DATABASE: Final = "lognode.db"
KEY: Final = "node.key"
CONFIG: Final = "lognode.toml"
NEEDED: Final = frozenset({DATABASE, KEY})


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's length and hash, in hex."""

    bytes: int
    sha256: str


class FeedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feed, and the size and root of its newest checkpoint."""

    feed: str
    size: int
    root: str


class TenantEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant, what the node calls it, and its feeds in the order in which they were opened."""

    tenant: str
    alias: str | None
    feeds: list[FeedEntry]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of backup.json, in their order."""

    lognode_backup: int  # version of this format
    version: str  # of the lognode that made it
    schema: int  # of the database
    node: str  # LogLine ID
    at: str
    files: dict[str, FileEntry]
    tenants: list[TenantEntry]
    seal: str = ""

    @property
    def spans(self) -> int:
        """How many spans the backup holds, of all tenants."""
        return sum(feed.size for tenant in self.tenants for feed in tenant.feeds)

    @property
    def bytes(self) -> int:
        """What its files weigh together."""
        return sum(entry.bytes for entry in self.files.values())


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its seal: SHA-256, in hex, of its text with an empty one."""
    return msgspec.structs.replace(manifest, seal=sha256(encode_manifest(manifest, seal="")).hexdigest())


def encode_manifest(manifest: Manifest, **changes: str) -> bytes:
    """The text of a manifest."""
    parts = msgspec.structs.replace(manifest, **changes)
    return msgspec.json.format(msgspec.json.encode(parts), indent=2) + b"\n"


def decode_manifest(raw: bytes, schema_max: int) -> Manifest:
    """The parts of a manifest. Raises CallerError("backup.damaged") or NodeFault("database.newer")."""
    try:
        parsed = parse_json(raw)
        version = parsed.get("lognode_backup") if isinstance(parsed, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise NodeFault("database.newer", f"the backup has format {version}, this lognode knows {FORMAT}")
        manifest = msgspec.convert(parsed, Manifest)
    except (CallerError, msgspec.ValidationError) as error:
        raise _damaged(f"it is no manifest: {error}") from error
    if sealed(manifest) != manifest or encode_manifest(manifest) != raw:
        raise _damaged("it is not as it was written: its seal covers another text")
    if not NEEDED <= manifest.files.keys() <= NEEDED | {CONFIG}:
        raise _damaged(f"it lists other files than a backup has: {', '.join(manifest.files)}")
    if manifest.schema > schema_max:
        detail = f"the schema of the backup is version {manifest.schema}, this lognode knows {schema_max}"
        raise NodeFault("database.newer", detail)
    return manifest


def _damaged(detail: str) -> CallerError:
    return CallerError("backup.damaged", detail, place=MANIFEST)
