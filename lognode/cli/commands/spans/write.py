"""Commands that add spans: append and import."""

import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cyclopts import Parameter

from lognode.cli.commands.spans.transfer import holds, tenant_id
from lognode.cli.files import NOTHING_WRITTEN, open_input
from lognode.cli.lines.copies import Imports, tell_conflict
from lognode.cli.lines.ndjson import Batch, read_batches, unpacked
from lognode.cli.lines.tally import Tally, progress
from lognode.cli.options import HERE, File, Flag, Target, Texts
from lognode.cli.output import print_json, print_text, say
from lognode.core.codec import parse_json
from lognode.core.errors import CallerError, LognodeError

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.draft import Draft

INPUT_WAIT_S: Final = 0.05  # a producer that is slower than this gets its lines sent as they come


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Details:
    """The fields of a span but for its kind, as options."""

    title: str | None = None
    """It in one line, for people."""
    data: File | None = None
    """Details as JSON; @FILE reads a file, - reads stdin."""
    tag: Texts = ()
    """A tag; again for more."""
    subject: str | None = None
    """What it was done to."""
    contract: str | None = None
    """Id of a contract it belongs to."""
    workflow: str | None = None
    """Id of a workflow it belongs to."""
    flow: str | None = None
    """Id of a flow it belongs to."""
    metadata: File | None = None
    """JSON about the record itself; @FILE and - as for data."""
    caused_by: str | None = None
    """Id of the span that led to this one."""
    related: Texts = ()
    """Id of a related span; again for more."""
    visibility: Literal["private", "organization", "public"] | None = None
    """Who may see it: this node, members (organization, the default), or anyone."""
    status: Literal["executed", "simulated"] | None = None
    """Whether it happened (executed, the default) or was only tried out."""
    actor: str | None = None
    """LogLine ID of who did it; the node itself by default."""

    def draft_of(self, kind: str) -> "Draft":
        """The client's draft. Raises CallerError json.* or file.unreadable; place is the option."""
        from lognode.client.draft import Draft

        return Draft(
            kind=kind,
            title=self.title,
            data=_json_argument("--data", self.data),
            tags=self.tag,
            subject=self.subject,
            contract_id=self.contract,
            workflow_id=self.workflow,
            flow_id=self.flow,
            related=self.related,
            metadata=_json_argument("--metadata", self.metadata),
            visibility=self.visibility,
            status=self.status,
            caused_by=self.caused_by,
            actor=self.actor,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Fields(Details):
    """The fields of a span, as options."""

    kind: str
    """What was done: words joined by dots, such as order.paid."""

    def draft(self) -> "Draft":
        """The client's draft. Raises as `draft_of` does."""
        return self.draft_of(self.kind)


def append(*, fields: Fields, idempotency_key: str | None = None, target: Target = HERE) -> None:
    """Record one span and print its id, once it is durable.

    With --json it prints the receipt: id, feed, place in the feed, leaf hash.

    Parameters
    ----------
    idempotency_key
        Sending the same span with the same key again adds nothing.

    Examples
    --------
    $ lognode append --kind order.paid --subject order:17 --data '{"amount": 12}'
    What led to it, and details from a program
    $ date +%s | lognode append --kind job.done --caused-by "$begun" --data -
    Safe to send again
    $ lognode append --kind note.made --title Hello --idempotency-key hello-1

    Notes
    -----
    Exit code 2 for a draft that is not valid, 5 for a key that was used for another span, 75 when the node is busy.
    """
    with target.client() as client:
        receipt = client.append(fields.draft(), idempotency_key=idempotency_key)
    if target.json:
        print_json(receipt)
        return
    print_text(receipt["id"])
    if receipt.get("held"):
        say("Nothing is written yet: it waits for approval under this id. 'lognode approval show ID' says how it goes.")
    elif receipt["duplicate"]:
        say("It was there already; nothing was added.")


def _json_argument(option: str, text: str | None) -> object:
    """The value of JSON given as itself, as @FILE, or as - for stdin."""
    if text is None:
        return None
    try:
        if text == "-":
            raw = sys.stdin.buffer.read()
        else:
            raw = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
    except OSError as error:
        raise CallerError("file.unreadable", f"{text[1:]}: {error.strerror}", place=option) from error
    try:
        return parse_json(raw)
    except CallerError as error:
        raise CallerError(error.code, error.detail, place=option) from error


def import_file(file: File, /, *, dry_run: Flag = False, target: Target = HERE) -> None:
    """Append every line of an NDJSON file: drafts and exported spans.

    A line is a draft as JSON, or a span that 'lognode export' wrote, which becomes a copy with its origin. Run again
    it adds nothing twice. It stops at a line that is not valid; what stands before it is in. Lines of a slow producer
    are recorded as they come. Control spans and spans without their bodies are left out of an export, and counted.

    Parameters
    ----------
    file
        The file, plain or gzip; - reads stdin.
    dry_run
        Write nothing: say what would be added, and stop where a line would be refused.

    Examples
    --------
    $ lognode import records.ndjson.gz
    $ tail -F access.ndjson | lognode import -
    $ lognode export --data-dir /srv/other | lognode import -

    Notes
    -----
    Exit code 1 at a line that is not valid; standard error names it and says what is in.
    """
    tally = Tally(is_dry=dry_run)
    try:
        with open_input(file) as source, target.client() as client, _progress(source) as show:
            tenant = cache(lambda: tenant_id(client, target.tenant_name()))
            imports = Imports(tenant, lambda span: holds(client, span), is_dry=dry_run)
            for batch in read_batches(unpacked(source), lambda: _is_waiting(source), imports.draft):
                tally.add_others(batch.others)
                _send(client, batch, tally)
                show(tally)
    except LognodeError as error:
        error.extra |= {"appended": tally.added, "duplicates": tally.already_there}
        if tally.total and not target.json:
            # Of a batch that was refused for no line of it, more may be in.
            about = "" if "line" in error.extra else "at least "
            in_ = tally.text("line", "lines")
            say(f"Before the error: {about}{in_}. Run it again when it is mended: nothing is added twice.")
        raise
    except KeyboardInterrupt:
        if dry_run:
            say(NOTHING_WRITTEN)
        else:
            in_ = tally.text("line", "lines")
            say(f"Stopped. For certain in: {in_}. Run it again to go on: nothing is added twice.")
        raise
    if target.json:
        print_json(tally.answer("lines"))
    else:
        print_text(tally.text("line", "lines"))


def _send(client: "Client", batch: Batch, tally: Tally) -> None:
    from lognode.client.batch import renumber

    if not batch.lines:
        return
    try:
        answer = client.append_batch(batch.lines, dry_run=tally.is_dry)
    except LognodeError as error:
        tell_conflict(error, batch.lines)
        _tell_layout(error, batch.lines)
        renumber(error, batch.numbers)
        tally.add(error.extra.get("appended"), error.extra.get("duplicates"), error.extra.get("held"))
        raise
    tally.add(answer["appended"], answer["duplicates"], answer.get("held"))


def _tell_layout(error: LognodeError, lines: Sequence[bytes]) -> None:
    """Where JSON goes on in the next line, let the error say that it must not."""
    line = error.extra.get("line")
    if error.code == "json.malformed" and isinstance(line, int) and lines[line - 1].strip() in {b"{", b"["}:
        error.detail = f"{error.detail}; write one object a line (jq -c does)"


def _is_waiting(source: BufferedReader) -> bool:
    return not select.select([source], [], [], INPUT_WAIT_S)[0]


@contextmanager
def _progress(source: BufferedReader) -> Iterator[Callable[[Tally], None]]:
    """A bar by the place in the input, where its size is known."""
    state = os.fstat(source.fileno())
    size = state.st_size if stat.S_ISREG(state.st_mode) else None
    with progress(size, "lines") as show:
        yield lambda tally: show(tally.total, 0 if size is None else source.tell())
