"""A run of one machine with another, one request at a time, so that a network may stand between them.

Invariant: what a run takes in is taken in by the real writer, whatever becomes of the run.
"""

from lognode.protocol.reconcile import reconcile
from lognode.protocol.steps import Ask, Call, Report
from lognode.protocol.wire import decode_answer, encode_request
from lognode.sim.machines.liar import Liar
from lognode.sim.machines.machine import Machine


class Exchange:
    """A run, at its dialer."""

    def __init__(self, number: int, dialer: Machine, answerer: Machine, liar: Liar | None) -> None:
        assert dialer.tenant_id is not None
        self.number = number
        self.dialer = dialer
        self.answerer = answerer
        self.asks = 0
        self.report: Report | None = None
        self._liar = liar
        self._heard = dialer.process.heard[answerer.name]
        self._run = reconcile(Call(dialer.tenant_id, dialer.process.presence, heard=self._heard))
        self._process = dialer.process
        self._step = next(self._run)

    @property
    def is_alive(self) -> bool:
        """Whether the process that made it still runs, and it has not ended."""
        return self.report is None and self.dialer.is_up and self.dialer.process is self._process

    async def proceed(self, answer: bytes | None) -> bytes | None:
        """The next request; None when the run has come to its report. Raises PeerError, Down."""
        try:
            if answer is not None:
                self._step = self._run.send(decode_answer(answer))
            while not isinstance(self._step, Ask):
                self._step = self._run.send(await self.dialer.carry_out(self._step))
        except StopIteration as end:
            self.report = end.value
            self._heard.update(end.value.heard)
            await self.dialer.heed(self.answerer.keys.public, end.value)
            return None
        self.asks += 1
        request = self._step.request
        return encode_request(self._liar.request(self.dialer.name, request) if self._liar else request)

    async def serve(self, request: bytes) -> bytes:
        """The answer of the other side. Raises Down."""
        answer = await self.answerer.serve(self.dialer.keys.public, request)
        return self._liar.answer(self.answerer.name, answer) if self._liar else answer

    async def finish(self) -> Report:
        """The report, over a network that loses nothing. Raises PeerError, Down."""
        request = await self.proceed(None)
        while request is not None:
            request = await self.proceed(await self.serve(request))
        assert self.report is not None
        return self.report
