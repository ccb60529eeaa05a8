"""Commands for bundles: create one from a node, verify one without any node, import one into a node."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

from cyclopts import Group, Parameter

from lognode.cli.commands.evidence.checking import read_vkey
from lognode.cli.commands.spans.transfer import CopySender, holds, tenant_id
from lognode.cli.files import NOTHING_WRITTEN, chunks_of, open_input, open_twice, replacing
from lognode.cli.lines import tally as tallies
from lognode.cli.lines.copies import Imports, LeftOut
from lognode.cli.lines.ndjson import GZIP_MAGIC, begins_as_bundle
from lognode.cli.lines.verdict import feed_line, node_text, verdict_json, verdict_rows
from lognode.cli.options import ALL, HERE, File, Flag, Target, Texts, Which
from lognode.cli.output import flush, print_json, print_rows, print_text, progress, say, told_if_stopped
from lognode.cli.view.nodes import name_knower
from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import LogLineKind, parse_logline

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.timeline.proof.bundle.verdict import Verdict

TRUST_GROUP: Final = Group.create_ordered("Whose signature counts", sort_key=1)
Output = Annotated[str, Parameter(name=("--output", "-o"), allow_leading_hyphen=True)]


@Parameter(name="*", group=TRUST_GROUP)
@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom the reader of a bundle trusts, as learnt from elsewhere: a bundle proves itself by keys that it brings."""

    node: Texts = ()
    """LogLine ID of a node whose signatures count; again for more."""
    vkey: Texts = ()
    """Verifier key of a feed whose signatures count; FILE or @FILE reads a file; again for more."""
    any_node: Flag = False
    """Whoever signed will do: shows that the bundle is whole, not that it is true."""

    def judge(self) -> Callable[["Verdict"], None]:
        """What raises CallerError("bundle.untrusted") unless all who signed are trusted.

        Raises CallerError id.malformed, vkey.malformed or file.unreadable itself, before anything is read.
        """
        nodes = {_node_key(text) for text in self.node}
        vkeys = {read_vkey(text) for text in self.vkey}

        def check(verdict: "Verdict") -> None:
            strangers = verdict.strangers(nodes, vkeys)
            if strangers and not self.any_node:
                named = ", ".join(dict.fromkeys(node_text(feed.node_key) for feed in strangers))
                said = "other keys were named" if nodes or vkeys else "nobody said whom to trust"
                detail = f"it is signed by {named}, and {said}"
                raise CallerError("bundle.untrusted", detail, extra=verdict_json(verdict))

        return check


NOBODY: Final = Trust()


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
    from lognode.timeline.proof.bundle.reader import verify_bundle

    with (
        target.client() as client,
        _destination(output) as sink,
        client.bundle(
            name_knower(client, which.filter()), feed=feed, start=start, stop=stop, include_private=include_private
        ) as chunks,
        progress("Bundling") as show,
    ):
        verdict = verify_bundle(_written(chunks, sink, show))
    if output == "-":
        return
    if target.json:
        print_json({"file": output, **verdict_json(verdict)})
        return
    word = "span" if verdict.spans == 1 else "spans"
    print_text(f"Wrote {output}: {verdict.spans:,} {word}, {verdict.size:,} bytes.")
    flush()
    if not include_private:
        say("What private spans say is left out; --include-private takes it along.")
    say(f"Verify it anywhere: lognode bundle verify {output} --node {node_text(verdict.head.node_key)}")


def bundle_verify(file: File, /, *, spans: Flag = False, trust: Trust = NOBODY, json: Flag = False) -> None:
    """Check a bundle without any node.

    A bundle brings the keys that it is signed with: whom of them to trust must be known from elsewhere.

    Parameters
    ----------
    file
        The bundle; - reads stdin.
    spans
        Print its spans, as 'lognode export' does, once all of it was checked.
    json
        Answer as JSON, errors too.

    Examples
    --------
    $ lognode bundle verify orders.bundle --node "$(cat alice.id)"
    $ lognode bundle verify orders.bundle --vkey @feed.vkey --spans

    Notes
    -----
    Exit code 0 when it holds and those who signed it are trusted, 1 otherwise.
    """
    judge = trust.judge()
    if spans:
        with open_twice(file) as source:
            verdict = _verified(source)
            judge(verdict)
            source.seek(0)
            for shown in _shown_again(source, verdict):
                if shown is not None:
                    print_json(shown)
        return
    with open_input(file) as source:
        verdict = _verified(source)
    if json:
        judge(verdict)
        print_json({"ok": True, **verdict_json(verdict)})
        return
    print_text("The bundle is whole, and as it was sealed.")
    print_rows(verdict_rows(verdict))
    for feed in verdict.feeds:
        if feed.count:
            print_text(feed_line(feed))
    flush()
    judge(verdict)


def bundle_import(file: File, /, *, dry_run: Flag = False, trust: Trust = NOBODY, target: Target = HERE) -> None:
    """Append the spans of a bundle as copies that name their origin.

    All of it is verified before anything is appended. Run again, it adds nothing twice. Control spans and spans whose
    content is not there are left out, and counted.

    Parameters
    ----------
    file
        The bundle; - reads stdin.
    dry_run
        Write nothing: say what would be added.

    Examples
    --------
    $ lognode bundle import orders.bundle --node "$(cat alice.id)"
    """
    judge = trust.judge()
    tally = tallies.Tally(is_dry=dry_run)
    with open_twice(file) as source, target.client() as client:
        verdict = _verified(source)
        judge(verdict)
        source.seek(0)
        try:
            _append(client, target.tenant_name(), source, verdict, tally)
        except KeyboardInterrupt:
            if dry_run:
                say(NOTHING_WRITTEN)
            else:
                say(f"Stopped. For certain in: {tally.text('span', 'spans')}. Run it again to go on.")
            raise
        except LognodeError as error:
            error.extra |= tally.answer("spans")
            raise
    if target.json:
        print_json({**tally.answer("spans"), "actors_missigned": verdict.missigned})
        return
    print_text(tally.text("span", "spans"))
    if count := verdict.missigned:
        spans = "1 span of the bundle is" if count == 1 else f"{count:,} spans of the bundle are"
        print_text(f"{spans} NOT signed by the actor that is named")


def _append(client: "Client", name: str, source: BinaryIO, verdict: "Verdict", tally: tallies.Tally) -> None:
    imports = Imports(cache(lambda: tenant_id(client, name)), lambda span: holds(client, span), is_dry=tally.is_dry)
    sender = CopySender(client, tally)
    with tallies.progress(verdict.spans + verdict.stubs, "spans") as show:
        for shown in _shown_again(source, verdict):
            copy = LeftOut("unseen") if shown is None else imports.copy(shown, "bundle")
            if shown is not None and isinstance(copy, bytes):
                sender.add(shown["id"], copy)
            elif not isinstance(copy, bytes):
                tally.add_others([copy])
            show(tally.total, tally.total)
        sender.finish()


def _shown_again(source: BinaryIO, verdict: "Verdict") -> Iterator[dict[str, Any] | None]:
    """The spans of a bundle that was verified, from its copy; None for one of which only the place is there."""
    from lognode.timeline.proof.bundle.reader import BundleReader

    for span in BundleReader(chunks_of(source)).spans():
        yield span.json(verdict.head.tenant)


def _verified(source: BinaryIO) -> "Verdict":
    from lognode.timeline.proof.bundle.reader import verify_bundle

    size = os.fstat(source.fileno()).st_size
    with told_if_stopped("Stopped; the bundle is not verified."), progress("Verifying") as show:
        return verify_bundle(_counted(_bundle_chunks(source), lambda done: show(done, max(size, done))))


def _bundle_chunks(source: BinaryIO) -> Iterator[bytes]:
    """The pieces of a file that begins as a bundle. Raises CallerError("bundle.invalid") for any other."""
    chunks = chunks_of(source)
    first = next(chunks, b"")
    if first.startswith(GZIP_MAGIC):
        raise CallerError("bundle.invalid", "it is gzip; unpack it first")
    if not begins_as_bundle(first):
        raise CallerError("bundle.invalid", "this is no bundle")
    yield first
    yield from chunks


def _counted(chunks: Iterable[bytes], show: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        show(done)
        yield chunk


def _written(chunks: Iterable[bytes], sink: BinaryIO, show: Callable[[int, int | None], None]) -> Iterator[bytes]:
    for chunk in _counted(chunks, lambda done: show(done, None)):
        sink.write(chunk)
        yield chunk


@contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        if sys.stdout.isatty():
            raise CallerError("usage.invalid", "a bundle is binary; name a file with -o, or send it into a pipe")
        yield sys.stdout.buffer
        return
    with replacing(Path(output)) as sink:
        yield sink


def _node_key(text: str) -> bytes:
    found = parse_logline(text)
    if found[0] != LogLineKind.NODE:
        raise CallerError("id.malformed", f"{text!r:.120} names no node", place="--node")
    return found[1:]
