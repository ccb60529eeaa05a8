"""Commands that take many spans from where they are: export and replay."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import msgspec
from cyclopts import Parameter

from lognode.cli.files import replacing
from lognode.cli.lines.copies import LeftOut, copy_line, left_out, origin_of_copy, tell_conflict
from lognode.cli.lines.tally import Tally, progress
from lognode.cli.options import ALL, HERE, Flag, Target, Which
from lognode.cli.output import print_json, print_text, say
from lognode.cli.view.nodes import name_knower
from lognode.core.draft import origin_in
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import RUN_NAME_BYTES_MAX

if TYPE_CHECKING:
    from lognode.client.answers import Span
    from lognode.client.sync.client import Client

Output = Annotated[Path | None, Parameter(name=("--output", "-o"))]
_RUN_BYTES: Final = 6

_encode = msgspec.json.Encoder().encode


def export(*, output: Output = None, which: Which = ALL, target: Target = HERE) -> None:
    """Write spans with all their fields as NDJSON.

    They come in the order in which this node took them in. What is there when it begins is written; 'lognode import'
    reads it. Private spans are in it: a file is for its owner alone.

    Parameters
    ----------
    output
        The file to write, which replaces an older one once it is whole; stdout by default.

    Examples
    --------
    Keep all spans in a file, and take them into another node:

    $ lognode export -o timeline.ndjson
    $ lognode import timeline.ndjson --data-dir /srv/other-node
    """
    with target.client() as client:
        tenant, newest = tenant_id(client, target.tenant_name()), newest_position(client)
        if output is None:
            for span in spans_up_to(client, which, newest):
                print_json({**span, "tenant": tenant})
            return
        count = 0
        with replacing(output) as file, progress(newest, "spans") as show:
            for span in spans_up_to(client, which, newest):
                _write_line(file, span, tenant)
                count += 1
                show(count, span["position"])
    if target.json:
        print_json({"file": str(output), "spans": count})
    else:
        print_text(f"{count} {'span' if count == 1 else 'spans'} written to {output}")


def _write_line(file: BinaryIO, span: "Span", tenant: str) -> None:
    file.write(_encode({**span, "tenant": tenant}) + b"\n")


def replay(
    *,
    run: str | None = None,
    simulate: Flag = False,
    replays: Flag = False,
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Record spans again, as new ones that name their originals.

    They come in the order of their originals. What is there when it begins is replayed. Control spans are left out, and
    so are spans that are replays themselves.

    Parameters
    ----------
    run
        Name of the run. The same run again records nothing twice, nor what it made, so an interrupted one goes on; by
        default a new name, which is printed.
    simulate
        Write nothing: say what would be recorded, what is there, and what would be refused.
    replays
        Replay replays of other runs as well.

    Examples
    --------
    See what the orders of the last two hours would come to, then record them again:

    $ lognode replay --kind 'order.*' --since 2h --simulate
    $ lognode replay --kind 'order.*' --since 2h --run after-the-repair
    """
    name = run if run is not None else f"run-{secrets.token_hex(_RUN_BYTES)}"
    if not 0 < len(name.encode()) <= RUN_NAME_BYTES_MAX:
        raise CallerError("usage.invalid", f"--run takes a name of 1 to {RUN_NAME_BYTES_MAX} bytes")
    if run is None and not simulate:
        say(f"This is {name}; if it is interrupted, go on with --run {name}.")
    tally = Tally(is_dry=simulate)
    with target.client() as client:
        try:
            _replay(client, tenant_id(client, target.tenant_name()), name, which, tally, replays=replays)
        except KeyboardInterrupt:
            if not simulate:
                say(f"Stopped. For certain in: {tally.text('span', 'spans')}. Run it again with --run {name} to go on.")
            raise
    if target.json:
        print_json({"run": name, **tally.answer("spans")})
    else:
        print_text(tally.text("span", "spans"))


def _replay(client: "Client", tenant: str, run: str, which: Which, tally: Tally, *, replays: bool) -> None:
    newest = newest_position(client)
    with progress(newest, "spans") as show:
        replayed = CopySender(client, tally)
        for span in spans_up_to(client, which, newest):
            reason = left_out(span) or _left_out_of(run, span, replays=replays)
            if reason is not None:
                tally.add_others([LeftOut(reason)])
            else:
                key = f"replay:{run}:{span['id']}"
                origin = origin_of_copy(span, tenant, "replay", run)
                replayed.add(span["id"], copy_line(span, origin, key=key))
            show(tally.total, span["position"])
        replayed.finish()


def _left_out_of(run: str, span: "Span", *, replays: bool) -> str | None:
    """Why a run does not replay this, a key of LEFT_OUT: what it made itself would else be made again without end."""
    made = origin_in(span.get("annotations"))
    if made is None or made.way != "replay":
        return None
    if not replays:
        return "replay"
    return "same_run" if made.run == run else None


class CopySender:
    """Copies on their way to the node, in batches."""

    def __init__(self, client: "Client", tally: Tally) -> None:
        from lognode.client.batch import Batcher

        self._client = client
        self._tally = tally
        self._batcher: Batcher = Batcher()
        self._ids: list[str] = []  # of the spans whose copies the batcher holds

    def add(self, span_id: str, line: bytes) -> None:
        """Send the batch that had no room for this line, if there is one."""
        self._send(self._batcher.add(line))
        self._ids.append(span_id)

    def finish(self) -> None:
        """Send what is left."""
        self._send(self._batcher.rest())

    def _send(self, batch: list[bytes]) -> None:
        if not batch:
            return
        try:
            answer = self._client.append_batch(batch, dry_run=self._tally.is_dry)
        except LognodeError as error:
            self._tally.add(error.extra.get("appended"), error.extra.get("duplicates"), error.extra.get("held"))
            tell_conflict(error, batch)
            line = error.extra.get("line")
            if isinstance(line, int):
                error.place = f"span {self._ids[line - 1]}"
            error.extra |= self._tally.answer("spans")
            raise
        self._tally.add(answer["appended"], answer["duplicates"], answer.get("held"))
        self._ids.clear()


def tenant_id(client: "Client", name: str) -> str:
    """The id of the tenant that the node calls `name`. Raises CallerError("tenant.unknown")."""
    for tenant in client.node()["tenants"]:
        if name in (tenant["id"], tenant["alias"]):
            return tenant["id"]
    raise CallerError("tenant.unknown", f"{name!r}")


def holds(client: "Client", span_id: str) -> bool:
    """Whether the tenant holds the span itself, and not only a copy."""
    try:
        return client.span(span_id)["id"] == span_id
    except CallerError as error:
        if error.code == "span.unknown":
            return False
        raise


def newest_position(client: "Client") -> int:
    """The position of the newest span of the tenant."""
    from lognode.client.filter import Filter

    newest = client.page(Filter(order="arrival"), limit=1)["spans"]
    return newest[0]["position"] if newest else 0


def spans_up_to(client: "Client", which: Which, newest: int) -> Iterator["Span"]:
    """The spans that match, by arrival, up to a position: else a timeline that grows would have no end."""
    for span in client.spans(name_knower(client, which.filter("arrival"))):
        if span["position"] > newest:
            return
        yield span
