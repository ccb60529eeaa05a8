"""Commands for bundles: create one from a node, verify one without any node."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final
from urllib.parse import unquote_plus

from cyclopts import Group, Parameter

from lognode.cli.options import ALL, HERE, File, Flag, Target, Texts, Which
from lognode.cli.output import flush, print_json, print_rows, print_text, say
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline, parse_logline

if TYPE_CHECKING:
    from lognode.timeline.bundle.verdict import BundledFeed, Verdict

CHUNK_BYTES: Final = 256 * 1024
TRUST_GROUP: Final = Group.create_ordered("Whose signature counts", sort_key=1)
Output = Annotated[str, Parameter(name=("--output", "-o"), allow_leading_hyphen=True)]


@Parameter(name="*", group=TRUST_GROUP)
@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom the reader of a bundle trusts, as learnt from elsewhere: a bundle proves itself by keys that it brings."""

    node: Texts = ()
    """LogLine ID of a node whose signatures count; again for more."""
    vkey: Texts = ()
    """Verifier key of a feed whose signatures count; @FILE reads a file; again for more."""
    any_node: Flag = False
    """Whoever signed will do: shows that the bundle is whole, not that it is true."""

    def judge(self, verdict: "Verdict") -> None:
        """Pass if all who signed are trusted. Raises CallerError bundle.untrusted, id.malformed or vkey.malformed."""
        from lognode.timeline.proof.checkpoint import parse_vkey

        nodes = {_node_key(text) for text in self.node}
        vkeys = {_read_line(text[1:]) if text.startswith("@") else text for text in self.vkey}
        for text in vkeys:
            parse_vkey(text)
        strangers = verdict.strangers(nodes, vkeys)
        if strangers and not self.any_node:
            named = ", ".join(dict.fromkeys(_node(feed.node_key) for feed in strangers))
            said = "other keys were named" if nodes or vkeys else "nobody said whom to trust"
            raise CallerError("bundle.untrusted", f"it is signed by {named}, and {said}", extra=_facts(verdict))


ANYBODY: Final = Trust()


def bundle_create(
    *,
    output: Output,
    feed: str | None = None,
    start: int | None = None,
    stop: int | None = None,
    include_private: Flag = False,
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Write the spans that match into one file, with their proofs.

    Readers of it need no node. The file appears once it is whole and was verified. Without filters it holds the whole
    timeline.

    Parameters
    ----------
    output
        The file to write, by custom with the ending .bundle; - writes to stdout.
    feed
        Every entry of this feed, in place of filters.
    start
        With --feed: from this entry on, counted from 0.
    stop
        With --feed: before this entry.
    include_private
        Take private spans along too. Otherwise their content stays here.

    Examples
    --------
    $ lognode bundle create -o orders.bundle --kind 'order.*' --since 2026-01-01
    Everything that one feed holds
    $ lognode bundle create -o feed.bundle --feed dk8cyftq8smnd83ctm3p4qb5dc
    """
    from lognode.timeline.bundle.reader import verify_bundle

    with (
        target.client() as client,
        client.bundle(which.filter(), feed=feed, start=start, stop=stop, include_private=include_private) as chunks,
        _destination(output) as sink,
        _progress(None) as show,
    ):
        verdict = verify_bundle(_copied(chunks, sink, show))
    if output == "-":
        return
    if target.json:
        print_json({"file": output, **_facts(verdict)})
        return
    print_text(f"Wrote {output}: {verdict.spans:,} spans, {verdict.size:,} bytes.")
    flush()
    if not include_private:
        say("What private spans say is left out; --include-private takes it along.")
    say(f"Verify it anywhere: lognode bundle verify {output} --node {_node(verdict.head.node_key)}")


def bundle_verify(file: File, /, *, trust: Trust = ANYBODY, json: Flag = False) -> None:
    """Check a bundle without any node.

    A bundle brings the keys that it is signed with: whom of them to trust must be known from elsewhere.

    Parameters
    ----------
    file
        The bundle; - reads stdin.
    json
        Answer as JSON, errors too.

    Examples
    --------
    $ lognode bundle verify orders.bundle --node "$(cat alice.id)"
    $ lognode bundle verify orders.bundle --vkey @feed.vkey

    Notes
    -----
    Exit code 0 when it holds and those who signed it are trusted, 1 otherwise.
    """
    from lognode.timeline.bundle.reader import verify_bundle

    with _source(file) as source, _progress(_size(source)) as show:
        verdict = verify_bundle(_chunks(source, show))
    if json:
        trust.judge(verdict)
        print_json({"ok": True, **_facts(verdict)})
        return
    print_text("The bundle is whole, and as it was sealed.")
    print_rows(_rows(verdict))
    for feed in verdict.feeds:
        if feed.count:
            print_text(_feed_line(feed))
    flush()
    trust.judge(verdict)


def _rows(verdict: "Verdict") -> dict[str, object]:
    from lognode.core.clock import hlc_ms, time_text

    head = verdict.head
    spans = f"{verdict.spans:,}"
    if verdict.first_hlc is not None and verdict.last_hlc is not None:
        spans += f", from {time_text(hlc_ms(verdict.first_hlc))} to {time_text(hlc_ms(verdict.last_hlc))}"
    rows: dict[str, object] = {
        "Tenant": b32encode(head.tenant),
        "Sealed by": _node(head.node_key),
        "At": time_text(head.made_ms),
        "Asked for": unquote_plus(head.query).replace("&", " ") or "everything",
        "Spans": spans,
    }
    if head.has_private:
        rows["Private"] = "included"
    elif verdict.stubs:
        rows["Private"] = f"{verdict.stubs:,} besides, of which only time and hash are shown"
    else:
        rows["Private"] = "left out"
    if verdict.absent:
        rows["Bodies"] = f"{verdict.absent:,} are not there"
    return rows


def _feed_line(feed: "BundledFeed") -> str:
    which = f"entries {feed.start:,} to {feed.stop - 1:,} of {feed.size:,}"
    said = f"all {which}" if feed.is_whole else f"{feed.count:,} of the {which}"
    return f"feed {b32encode(feed.feed)}, {said}, signed by {_node(feed.node_key)}"


def _facts(verdict: "Verdict") -> dict[str, Any]:
    """The verdict for programs."""
    from lognode.core.clock import hlc_ms, time_text

    head = verdict.head
    ends = [None if hlc is None else time_text(hlc_ms(hlc)) for hlc in (verdict.first_hlc, verdict.last_hlc)]
    return {
        "tenant": b32encode(head.tenant),
        "founder": _node(verdict.founder),
        "sealed_by": _node(head.node_key),
        "sealed_at": time_text(head.made_ms),
        "query": head.query,
        "include_private": bool(head.has_private),
        "spans": verdict.spans,
        "stubs": verdict.stubs,
        "bodies_absent": verdict.absent,
        "first_at": ends[0],
        "last_at": ends[1],
        "feeds": [_feed_facts(feed) for feed in verdict.feeds],
        "bytes": verdict.size,
        "sha256": verdict.digest.hex(),
    }


def _feed_facts(feed: "BundledFeed") -> dict[str, Any]:
    return {
        "feed": b32encode(feed.feed),
        "node": _node(feed.node_key),
        "vkey": feed.vkey,
        "size": feed.size,
        "root": feed.root.hex(),
        "start": feed.start,
        "stop": feed.stop,
        "entries": feed.count,
        "complete": feed.is_whole,
    }


def _node(key: bytes) -> str:
    return format_logline(logline(LogLineKind.NODE, key))


def _node_key(text: str) -> bytes:
    found = parse_logline(text)
    if found[0] != LogLineKind.NODE:
        raise CallerError("id.malformed", f"{text!r:.120} names no node", place="--node")
    return found[1:]


def _read_line(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8", "replace").strip()
    except OSError as error:
        raise CallerError("file.unreadable", f"{file}: {error.strerror}") from error


@contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    """Where a bundle is written. A file takes the place of an older one only when it is whole and on disk."""
    path = Path(output)
    if output == "-" and sys.stdout.isatty():
        raise CallerError("usage.invalid", "a bundle is binary; name a file with -o, or send it into a pipe")
    if output == "-":
        yield sys.stdout.buffer
        return
    if path.exists() and not path.is_file():  # a pipe or a device, which nothing may take the place of
        with path.open("wb") as sink:
            yield sink
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _copied(chunks: Iterable[bytes], sink: BinaryIO, show: Callable[[int], None]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        sink.write(chunk)
        size += len(chunk)
        show(size)
        yield chunk


@contextmanager
def _source(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            source = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise CallerError("file.unreadable", f"{file}: {error.strerror}") from error
        yield source


def _chunks(source: BinaryIO, show: Callable[[int], None]) -> Iterator[bytes]:
    size = 0
    try:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            show(size)
            yield chunk
    except OSError as error:
        raise CallerError("file.unreadable", f"the bundle cannot be read to its end: {error}") from error


def _size(source: BinaryIO) -> int | None:
    """Bytes of a file, None of a pipe."""
    return os.fstat(source.fileno()).st_size or None


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, fed with how many bytes are done."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
