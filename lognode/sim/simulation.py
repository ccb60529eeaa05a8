"""One world from one seed: machines live through trouble, then the network heals, and all must hold the same.

Owns time, chance and the order of events. Invariant: one seed has one trace, in any process.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from heapq import heappop, heappush
from random import Random
from typing import Final, NamedTuple

import trio
from structlog.testing import capture_logs

from lognode.core.errors import LognodeError
from lognode.core.ids import FeedId, SpanId
from lognode.sim.deeds.rules import Rules
from lognode.sim.deeds.trouble import SKEWS_MS
from lognode.sim.deeds.workload import Workload
from lognode.sim.machines.exchange import Exchange
from lognode.sim.machines.liar import FORKS, STYLES, Liar
from lognode.sim.machines.machine import Down, Machine
from lognode.sim.machines.tampered import LIES, Tampering
from lognode.sim.network import TIMEOUT_MS, Network
from lognode.sim.time import Time
from lognode.sim.verdicts.healing import Verdict, heal
from lognode.sim.verdicts.looks import Look
from lognode.sim.verdicts.truth import Truth, Watched

START_MS: Final = 1_750_000_000_000
NODES_MIN: Final = 2
NODES_MAX: Final = 20
QUESTIONS: Final = 8
_STEP_MS_MAX: Final = 300
_RUNS_MAX: Final = 8  # under way at once
_RULED: Final = 1 / 5


class Scenario(NamedTuple):
    """What a world is made from. `liar` is a style of `sim.machines.liar`, None for none.

    Where there are `recoveries`, nodes leave, declare recovery keys and are revoked by these as well. Where there are
    `copies`, disks are put back to what they were, and machines are cloned. Where there are `rules`, sets of them are
    published, and nodes gate and react by these; `tampers` is a lie of `sim.machines.tampered` about what they decide.
    """

    seed: int
    nodes: int
    liar: str | None = None
    recoveries: bool = False
    copies: bool = False
    rules: bool = False
    tampers: str | None = None


class Outcome(NamedTuple):
    """What came of a world."""

    scenario: Scenario
    trace: str
    events: int
    spans: int
    crashes: int
    answers: Mapping[str, int]  # about causal order, how often each, where what really happened leaves one alone
    verdict: Verdict
    decided: Mapping[str, int]  # what decisions of rules came to when they were looked at again, how often each


def chance(seed: int | str | bytes) -> Random:
    """What looks like chance, and is the same for the same seed."""
    return Random(seed)  # noqa: S311 - nothing here is secret


def scenario_of(seed: int, nodes: int | None = None) -> Scenario:
    """A world of a seed; in every third somebody lies, where three can be honest besides."""
    random = chance(f"scenario {seed}")
    usual = random.choice((2, 3, 4, 4, 5, 6, 7, 9))
    count = nodes or usual
    is_lied_to = random.random() < 1 / 3 and count > 3
    liar = random.choice([*sorted(STYLES), FORKS, FORKS, FORKS]) if is_lied_to else None
    has_recoveries, has_copies = random.random() < 1 / 3, random.random() < 1 / 2
    # Drawn elsewhere, so that all other worlds are what they were before there were rules.
    ruled = chance(f"rules {seed}")
    has_rules = ruled.random() < _RULED
    tampers = ruled.choice(LIES) if has_rules and count > 2 and ruled.random() < 1 / 3 else None
    return Scenario(seed, count, liar, has_recoveries, has_copies, has_rules, tampers)


def simulate(scenario: Scenario, tell: Callable[[str], None] | None = None, *, questions: int = QUESTIONS) -> Outcome:
    """What comes of a world, in which so many spans are asked about; `tell` gets its trace line by line."""
    world = Simulation(scenario, tell, questions)
    with capture_logs():  # what its nodes say of themselves is nobody's log
        return trio.run(world.run, clock=Time(lambda: world.now_ms))


class Simulation:
    """A world while it runs."""

    def __init__(self, scenario: Scenario, tell: Callable[[str], None] | None, questions: int) -> None:
        self.scenario = scenario
        self.questions = questions
        self.answers = Counter[str]()
        self.random = chance(scenario.seed)
        self.now_ms = START_MS
        self.machines = [
            Machine(name, chance(self.random.randbytes(8)), lambda: self.now_ms) for name in range(scenario.nodes)
        ]
        for machine in self.machines[1:]:
            machine.skew_ms = self.random.choice(SKEWS_MS)
        self.network = Network(scenario.nodes, self.random)
        self.liar = (
            Liar(self.random.randrange(1, scenario.nodes), scenario.liar, self.random) if scenario.liar else None
        )
        self.rules = Rules(self, chance(f"deeds about rules {scenario.seed}")) if scenario.rules else None
        self.tampering: Tampering | None = None
        if scenario.tampers:
            random = chance(f"tampering {scenario.seed}")
            self.tampering = Tampering(random.randrange(1, scenario.nodes), scenario.tampers, random)
            self.machines[self.tampering.name].tampering = self.tampering
        self.decided = Counter[str]()
        self.acknowledged: dict[SpanId, tuple[Machine, int]] = {}  # who wrote it, and for whom
        self.returned = set[bytes]()  # keys of machines whose disk was put back
        self.rewound = set[SpanId]()  # those that a disk once held and does not any longer
        self.lost = set[tuple[FeedId, int]]()  # entries that a disk once held and did not hold once it was put back
        self.looks: list[Look] = []
        self.truth = Truth()
        for machine in self.machines:
            self._watch(machine)
        self.crashes = 0
        self.events = 0
        self._tell = tell
        self._trace = sha256()
        self._queue: list[tuple[int, int, Callable[[], Awaitable[None]]]] = []
        self._order = 0
        self._exchanges: list[Exchange] = []

    def _watch(self, machine: Machine) -> None:
        machine.watch = self.truth.watch(Watched(machine.name, lambda: machine.now_ms, lambda: machine.membership))
        machine.disk.watch = machine.watch

    def any(self) -> Machine:
        """Some machine."""
        return self.random.choice(self.machines)

    def honest(self) -> Machine:
        """A machine whose acts nobody keeps from the others."""
        return self.random.choice([machine for machine in self.machines if self.is_honest(machine)])

    def is_honest(self, machine: Machine) -> bool:
        """Whether a machine neither lies on the way nor alters what it decides."""
        return all(other is None or machine.name != other.name for other in (self.liar, self.tampering))

    def say(self, line: str) -> None:
        """Add a line to the trace."""
        text = f"{self.now_ms - START_MS:7} {line}"
        self._trace.update(text.encode() + b"\n")
        if self._tell:
            self._tell(text)

    async def run(self) -> Outcome:
        """Trouble, then healing."""
        async with trio.open_nursery() as self.nursery:
            await self.machines[0].found()
            for machine in self.machines:
                await machine.start(self.nursery)
            workload = Workload(self)
            if self.rules:
                await self.rules.begin()
            await workload.gather()
            for _ in range(self.random.randint(20, 40 + 15 * self.scenario.nodes)):
                self.now_ms += self.random.randint(1, _STEP_MS_MAX)
                await self._deliver()
                await workload.act()
                await self.merge()
                if self.rules:
                    await self.rules.act()
                self.events += 1
            await workload.part()
            await self._settle()
            verdict = await heal(self)
            spans = len(self.acknowledged)
            self.nursery.cancel_scope.cancel()
        told = (self._trace.hexdigest(), self.events, spans, self.crashes, self.answers)
        return Outcome(self.scenario, *told, verdict, self.decided)

    async def merge(self) -> int:
        """How many machines write a merge that is due."""
        written = 0
        for machine in self.machines:
            try:
                await machine.tell()
                written += await machine.merge()
            except (LognodeError, Down) as error:
                self.say(f"{machine.name} merges nothing: {error!r}")
        return written

    def after(self, delay_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do something later."""
        self._order += 1
        heappush(self._queue, (self.now_ms + delay_ms, self._order, work))

    async def _deliver(self) -> None:
        """Do what is due."""
        now_ms = self.now_ms
        while self._queue and self._queue[0][0] <= now_ms:
            self.now_ms, _, work = heappop(self._queue)
            await work()
        self.now_ms = now_ms

    async def _settle(self) -> None:
        """End the trouble: every message has arrived or is lost, every machine runs, all reach all."""
        self.now_ms += 10 * TIMEOUT_MS
        await self._deliver()
        self._queue.clear()
        self._exchanges.clear()
        self.network.join()
        for machine in self.machines:
            machine.disk.crashes = None
            await self.restart(machine)
        self.say("healed")

    async def crash(self, machine: Machine, *, at_commit: bool = False) -> None:
        """End a machine's process now, or at its next commit."""
        self.crashes += 1
        if at_commit or (self.random.random() < 0.5 and machine.is_up):
            machine.disk.crashes = self.random.choice(("before", "after"))
            self.say(f"{machine.name} will crash {machine.disk.crashes} its next commit")
        else:
            machine.end()
            self.say(f"{machine.name} crashes")

    async def restart(self, machine: Machine) -> None:
        """Start a machine that is down."""
        if not machine.is_up:
            await machine.start(self.nursery)
            self.say(f"{machine.name} starts")

    async def add_clone(self, machine: Machine) -> Machine:
        """A machine besides another one, with all that this has."""
        twin = machine.cloned(len(self.machines), chance(self.random.randbytes(8)))
        self.machines.append(twin)
        self._watch(twin)
        self.network.add()
        await twin.start(self.nursery)
        return twin

    def note_put_back(self, machine: Machine) -> None:
        """A machine's disk is of an earlier time: what it wrote since then may be nowhere."""
        self.looks = [look for look in self.looks if look.machine is not machine]
        self.returned.add(machine.keys.public)
        self.lost.update(self.truth.written_beyond(machine.keys.public, machine.disk.conn))
        self.rewound.update(span for span, (author, _) in self.acknowledged.items() if author is machine)

    async def begin(self, dialer: Machine, answerer: Machine) -> None:
        """Begin a run between two machines, where the first knows the other as a member: nobody else is dialled."""
        self._exchanges = [exchange for exchange in self._exchanges if exchange.is_alive]
        if len(self._exchanges) == _RUNS_MAX or not dialer.is_up or dialer.tenant is None:
            return
        if not dialer.accepts(answerer.keys.public):
            return
        self._order += 1
        exchange = Exchange(self._order, dialer, answerer, self.liar)
        self._exchanges.append(exchange)
        self.say(f"run {exchange.number}: {dialer.name} dials {answerer.name}")
        await self._proceed(exchange, None)

    async def _proceed(self, exchange: Exchange, answer: bytes | None) -> None:
        """Let a run go on until its next request, and send that."""
        try:
            request = await exchange.proceed(answer)
        except (LognodeError, Down) as error:
            self._exchanges.remove(exchange)
            self.say(f"run {exchange.number} breaks: {error!r}")
            return
        if request is None:
            self._exchanges.remove(exchange)
            assert exchange.report is not None
            report = exchange.report
            self.say(f"run {exchange.number} ends: {report.state} {report.code} {_told(report.refusals)}")
            return
        asked = exchange.asks
        for delay_ms in self.network.deliveries(exchange.dialer.name, exchange.answerer.name):
            self.after(delay_ms, lambda: self._arrive(exchange, asked, request))
        self.after(TIMEOUT_MS, lambda: self._give_up(exchange, asked))

    async def _arrive(self, exchange: Exchange, asked: int, request: bytes) -> None:
        """A request arrives; its answer is sent."""
        one, other = exchange.answerer, exchange.dialer
        if not self.network.reaches(one.name, other.name) or not one.is_up:
            return
        try:
            answer = await exchange.serve(request)
        except Down:
            self.say(f"{one.name} ends while it answers")
            return
        for delay_ms in self.network.deliveries(one.name, other.name):
            self.after(delay_ms, lambda: self._hear(exchange, asked, answer))

    async def _hear(self, exchange: Exchange, asked: int, answer: bytes) -> None:
        """An answer arrives; the first one to the newest request counts."""
        if exchange in self._exchanges and exchange.is_alive and exchange.asks == asked:
            await self._proceed(exchange, answer)

    async def _give_up(self, exchange: Exchange, asked: int) -> None:
        if exchange in self._exchanges and exchange.asks == asked:
            self._exchanges.remove(exchange)
            self.say(f"run {exchange.number} times out")


def _told(refusals: object) -> str:
    return " ".join(f"{feed.hex()[:8]}:{found.code}" for feed, found in sorted(refusals.items()))  # type: ignore[attr-defined]
