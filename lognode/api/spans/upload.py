"""An NDJSON stream of drafts on its way into the timeline: many commits, one answer.

One task reads, cuts and parses, the other appends; order is kept. Invariant: when it stops at a line,
everything before that line is in, and nothing from it on.
"""

import sys
from collections.abc import AsyncIterable, Callable, Iterable, Sequence

import trio
from msgspec import UNSET

from lognode.api.app import Caller
from lognode.api.spans.admission import Admission, read_draft
from lognode.api.spans.intake import Intake
from lognode.api.spans.lines import Inflater, Lines
from lognode.api.spans.runs import Runs
from lognode.api.spans.wire import UploadJson, receipt_json
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import DRAFT_QUICK_BYTES_MAX, UPLOAD_SPANS_MAX
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.writing.rehearsal import Rehearsal


class Upload:
    """One request's stream.

    `key` is its idempotency key; with `runs`, it notes there where each span stands; with `rehearsal`, nothing is
    written.
    """

    def __init__(
        self, caller: Caller, key: str | None, *, is_gzip: bool, runs: Runs | None, rehearsal: Rehearsal | None = None
    ) -> None:
        self._writer = caller.services.writer
        self._tenant = caller.tenant
        self._parsing = caller.services.parsing
        self._key = key
        self._runs = runs
        self._rehearsal = rehearsal
        self._admission = Admission(caller)
        self._inflater = Inflater() if is_gzip else None
        self._intake: Intake[int] = Intake(UPLOAD_SPANS_MAX)
        self._lines = Lines()
        self._lines_done = 0  # read and found good, or blank
        self._appended = 0
        self._duplicates = 0
        self._held = 0
        self._first: Receipt | None = None
        self._last: Receipt | None = None
        self._stop: LognodeError | None = None
        self._stop_line = sys.maxsize

    async def run(self, chunks: AsyncIterable[bytes]) -> UploadJson:
        """What became of the whole stream.

        Raises the error of the line that stopped it, with `line`, `appended`, `duplicates` and `last` as extra.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._append, nursery.cancel_scope)
            await self._read(chunks)
        last = receipt_json(self._last) if self._last else None
        if self._stop is not None:
            self._stop.extra |= {"appended": self._appended, "duplicates": self._duplicates, "last": last}
            self._stop.extra |= {"held": self._held} if self._held else {}
            raise self._stop
        return UploadJson(
            self._lines_done,
            self._appended,
            self._duplicates,
            receipt_json(self._first) if self._first else None,
            last,
            last.checkpoint_size if last else 0,
            UNSET if self._rehearsal is None else True,
            self._held or UNSET,
        )

    async def _read(self, chunks: AsyncIterable[bytes]) -> None:
        inflate: Callable[[bytes], Iterable[bytes]] = self._inflater.feed if self._inflater else lambda chunk: (chunk,)
        try:
            async for chunk in chunks:
                for part in inflate(chunk):
                    await self._take_lines(self._lines.feed(part))
                    # A small chunk may inflate to very much.
                    await trio.lowlevel.checkpoint()
                # What is here must not wait for more: a slow producer sees its lines committed.
                self._intake.ripen()
            if self._inflater is not None:
                self._inflater.end()
            if rest := self._lines.rest():
                await self._take_lines([rest])
        except LognodeError as error:
            self._stop_at(self._lines_done + 1, error)
        finally:
            self._intake.close()

    async def _take_lines(self, lines: Iterable[bytes]) -> None:
        admit, intake = self._admission.admit, self._intake
        for line in lines:
            if line and not line.isspace():
                if len(line) <= DRAFT_QUICK_BYTES_MAX:
                    draft, key = parse_json_draft(line)
                else:
                    draft, key = await read_draft(parse_json_draft, line, self._parsing)
                number = self._lines_done + 1
                if key is None and self._key is not None:
                    key = f"{self._key}\n{number}"
                admitted = admit(draft, key)
                if not intake.put_nowait(admitted, number):
                    await intake.put(admitted, number)
            self._lines_done += 1

    async def _append(self, reading: trio.CancelScope) -> None:
        while True:
            drafts, numbers = await self._intake.take()
            if not drafts:
                return
            first_out = numbers[0]
            try:
                count, refused = await self._append_batch(drafts)
                if refused is not None:
                    self._stop_at(numbers[count], refused)
                    break
                first_out = numbers[-1] + 1
                if self._runs is not None:
                    self._runs.check_room()
            except LognodeError as error:
                # Where a transaction failed, nobody may know whether it is in: its first line is where to go on.
                self._stop_at(first_out, error)
                break
        reading.cancel()

    async def _append_batch(self, drafts: list[Draft]) -> tuple[int, CallerError | None]:
        """How many of the drafts are in, all of which are counted, and what refused the next."""
        if self._rehearsal is not None:
            fates, refused = await self._rehearsal.append(drafts)
            self._duplicates += fates.count("duplicate")
            self._appended += fates.count("new")
            self._held += fates.count("held")
            return len(fates), refused
        try:
            receipts, refused = await self._writer.append(self._tenant, drafts, wait=True), None
        except AppendStopped as stopped:
            receipts, refused = stopped.receipts, stopped.error
        self._count(receipts)
        return len(receipts), refused

    def _count(self, receipts: Sequence[Receipt]) -> None:
        if not receipts:
            return
        written = [receipt for receipt in receipts if not receipt.held]
        duplicates = sum([receipt.duplicate for receipt in written])
        self._held += len(receipts) - len(written)
        self._duplicates += duplicates
        self._appended += len(written) - duplicates
        if written:
            self._first = self._first or written[0]
            self._last = written[-1]
        if self._runs is not None:
            self._runs.add(receipts)

    def _stop_at(self, number: int, error: LognodeError) -> None:
        """Note the error of a line, unless an earlier line has one: nothing from that on is in."""
        if number >= self._stop_line:
            return
        self._stop_line = number
        place = f"line {number}" if error.place is None else f"line {number}: {error.place}"
        extra = {**error.extra, "line": number}
        # A new one: a group's fault is one exception for all who were in it.
        self._stop = type(error)(error.code, error.detail, place=place, retry_after_s=error.retry_after_s, extra=extra)
