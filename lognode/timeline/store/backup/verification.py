"""Verifies a backup from its own files: hashes, key, the whole history, and that a restore would fork no feed.

Invariant: a backup that passes is what its manifest says, byte for byte, and so is what is restored from it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, format_logline, logline
from lognode.identity.keyfile import open_seed, public_of
from lognode.timeline.store.audit import audit
from lognode.timeline.store.backup.creation import Progress, describe_file, describe_tenants
from lognode.timeline.store.backup.manifest import DATABASE, KEY, MANIFEST, Manifest, decode_manifest
from lognode.timeline.store.opening.migrate import connect_reader, migrations
from lognode.timeline.store.write import find_ending, find_open_feeds
from lognode.timeline.verify.finding import Finding


def read_manifest(folder: Path) -> Manifest:
    """What a backup says of itself.

    Raises CallerError file.unreadable, backup.damaged, or NodeFault database.newer.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror}; there is no backup without it") from error
    return decode_manifest(raw, len(migrations()))


def verify_backup(folder: Path, manifest: Manifest, progress: Progress) -> list[Finding]:
    """All that is wrong with a backup; empty when it is as it was made.

    `progress` is told how many spans of how many are checked.
    """
    findings = [*_check_files(folder, manifest)]
    try:
        public = _check_key((folder / KEY).read_bytes(), manifest)
        with closing(connect_reader(folder / DATABASE, is_still=True)) as conn:
            findings += audit(conn, node_public=public, progress=progress)
            if not any(finding.severity == "damage" for finding in findings):
                findings += _check_heads(conn, manifest)
    except CallerError as error:
        findings.append(_wrong(KEY, error.detail))
    except sqlite3.DatabaseError as error:
        findings.append(_wrong(DATABASE, f"cannot be opened: {error}"))
    except OSError as error:
        findings.append(_wrong(KEY, f"cannot be read: {error.strerror}"))
    return findings


def _check_files(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    for name, listed in manifest.files.items():
        try:
            found = describe_file(folder / name)
        except OSError as error:
            yield _wrong(name, f"cannot be read: {error.strerror}")
            continue
        if found.bytes != listed.bytes:
            yield _wrong(name, f"{found.bytes} bytes, by the manifest {listed.bytes}")
        elif found.sha256 != listed.sha256:
            yield _wrong(name, f"SHA-256 {found.sha256}, by the manifest {listed.sha256}")


def _check_key(text: bytes, manifest: Manifest) -> bytes:
    """The public key in a key file, and the one of its seed where that is not sealed. Raises CallerError."""
    try:
        open_seed(text, None)
    except CallerError as error:
        if error.code != "key.passphrase":
            raise
    public = public_of(text)
    if format_logline(logline(LogLineKind.NODE, public)) != manifest.node:
        raise CallerError("key.malformed", f"it is not the key of {manifest.node}")
    return public


def _check_heads(conn: sqlite3.Connection, manifest: Manifest) -> Iterator[Finding]:
    """What the manifest says of a sound database, and what a node that is started on it would do."""
    if describe_tenants(conn) != manifest.tenants:
        yield _wrong(MANIFEST, "its tenants or feeds are not those of the database")
    for feed in find_open_feeds(conn).values():
        if find_ending(conn, feed) is None:
            yield _wrong(DATABASE, f"whoever restores it would go on in feed {feed.number}, and might fork it")


def _wrong(place: str, detail: str) -> Finding:
    return Finding("backup.wrong", None, place, detail)
