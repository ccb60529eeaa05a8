"""The rules of all tenants, ready to be evaluated: what is in force for a past, read and compiled.

The writer tells of commits; everybody else asks, from the thread of whichever connection it reads by. Reading a text
and compiling rules take long, so the writer does neither: it is told that something is Unread, and whoever wants
something of it has that read ahead, and comes again. Invariants: what is answered is a function of what is committed
and of the past, and costs a look into memory where nothing changed; nobody decides without what is in force for its
past; what one tenant publishes is kept apart from what another does.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, NoReturn

import trio

from lognode.core.limits import RULE_SETS_BYTES_MAX, RULE_TEXT_VAIN_BYTES_MIN, SIZE_MAX
from lognode.engine.ruling.inforce import (
    NOT_ROOT,
    LastWords,
    Past,
    Publications,
    Signature,
    fault_of_span,
    in_force,
    last_words,
)
from lognode.engine.service.ruling.recent import Recent
from lognode.engine.service.standings import Standings
from lognode.engine.service.writing.ledger import Step
from lognode.rules.document import RuleSet
from lognode.rules.evaluation.program import Program, compile_rules
from lognode.rules.grammar.faults import RuleSetFaults
from lognode.rules.grammar.reading import read_published_set
from lognode.timeline.agreement.rules.publications import Publication
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.publications import read_publications, read_text
from lognode.timeline.store.write import newest_position

ANSWERS_MAX: Final = 16  # of a tenant that are kept; the past moves on, and what was in force changes rarely
_TEXTS_BYTES_MAX: Final = 2 * RULE_SETS_BYTES_MAX  # of a tenant that are kept as they were read: fifty times as much
_PROGRAMS_BYTES_MAX: Final = 4 * RULE_SETS_BYTES_MAX  # of the texts of a tenant's programs, which share what they can
_VERDICTS_MAX: Final = 4096  # of a tenant's texts, some hundred bytes each
_QUICK_MAX: Final = 256  # publications that are read in between
OTHER_NAME: Final = "rule.other_name"
Reading = RuleSet | RuleSetFaults
_Key = tuple[bytes, str]  # hash and media of a text


class Unread(Exception):
    """What is in force for this past of a tenant is to be read first, by `Programs.read_ahead`."""

    def __init__(self, tenant: TenantRef, past: Past) -> None:
        super().__init__(tenant.number)
        self.tenant = tenant
        self.past = dict(past)


class _More(Exception):
    """There is more to read, which may take long again."""


class Ruled(NamedTuple):
    """What is in force for a past: by name the last words, and the sets that have effect; None without any of these.

    `untried` is as in LastWords.
    """

    words: Mapping[str, Publication]
    sets: Mapping[str, RuleSet]
    program: Program | None
    untried: str | None = None


_NOTHING: Final = Ruled({}, {}, None)


class _Known(NamedTuple):
    """What is known of a tenant while nothing is published and nobody's level changes; `faults` by row."""

    publications: Publications
    members: Membership
    faults: dict[int, str | None]
    answers: Recent[Signature, Ruled]

    def fault(self, publication: Publication) -> str | None:
        """Why a publication is void, whatever its text."""
        if publication.row not in self.faults:
            self.faults[publication.row] = fault_of_span(publication, self.members)
        return self.faults[publication.row]


class _Kept:
    """What was read of one tenant."""

    def __init__(self) -> None:
        self.published: dict[int, Publication] = {}  # by row
        self._faults: tuple[Membership | None, dict[int, str | None]] = (None, {})
        self.verdicts: Recent[_Key, str] = Recent(_VERDICTS_MAX)  # the name of a set, or what is wrong with a text
        self.texts: Recent[_Key, RuleSet] = Recent(_TEXTS_BYTES_MAX)
        self.programs: Recent[frozenset[_Key], Program] = Recent(_PROGRAMS_BYTES_MAX)

    def faults_by(self, members: Membership) -> dict[int, str | None]:
        """Why publications are void by this membership, by row, as far as anybody asked."""
        if self._faults[0] is not members:
            self._faults = (members, {})
        return self._faults[1]

    def forget_rows(self) -> None:
        """Forget all that is known by its row."""
        self.published, self._faults = {}, (None, {})


# What reads a text or compiles; it raises where that is not to be done now.
_Read = Callable[[Publication], Reading]
_Compile = Callable[[list[RuleSet]], Program]


class Programs:
    """The rules of all tenants of a node. Its dictionaries are used from several threads, by single steps alone."""

    def __init__(self, store: Store, standings: Standings) -> None:
        self._store = store
        self._standings = standings
        self._known: dict[int, _Known] = {}
        self._kept: defaultdict[int, _Kept] = defaultdict(_Kept)
        self._holds: defaultdict[int, int] = defaultdict(int)
        self._since: defaultdict[int, int] = defaultdict(int)  # positions behind which all that was published is read
        self._reading = trio.Lock()  # one text at a time: there are other uses for processors and connections

    def are_there(self, tenant: TenantRef) -> bool:
        """Whether anything may be in force in a tenant, as far as that can be told without looking."""
        known = self._known.get(tenant.number)
        return known is None or bool(known.publications)

    def program(self, conn: sqlite3.Connection, tenant: TenantRef, past: Past) -> Program | None:
        """The rules in force for a past; None where there are none. Raises Unread, NodeFault("database.damaged")."""

        def fails(_: object) -> NoReturn:
            raise Unread(tenant, past)

        return self._ruled(conn, tenant, past, fails, fails, is_quick=True).program

    def ruled(self, conn: sqlite3.Connection, tenant: TenantRef, past: Past) -> Ruled:
        """What is in force for a past, read here and now where it is unread, which may take seconds.

        Raises NodeFault("database.damaged").
        """
        return self._ruled(conn, tenant, past, lambda one: self.read(conn, tenant, one), compile_rules)

    async def read_ahead(self, unread: Unread) -> None:
        """Have what is in force for a past read, so that it is known. Raises NodeFault("database.damaged")."""
        is_read = False
        while not is_read:
            async with self._reading:  # whoever waits longest is next: no tenant waits for all texts of another
                is_read = await self._store.read(self._read_some, unread)

    def _read_some(self, conn: sqlite3.Connection, unread: Unread) -> bool:
        """Whether all is read, once one text more is."""
        has_read = False

        def read(publication: Publication) -> Reading:
            nonlocal has_read
            if has_read:
                raise _More
            has_read = True
            return self.read(conn, unread.tenant, publication)

        def compiled(sets: list[RuleSet]) -> Program:
            if has_read:
                raise _More
            return compile_rules(sets)

        try:
            self._ruled(conn, unread.tenant, unread.past, read, compiled)
        except _More:
            return False
        return True

    def _ruled(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        past: Past,
        read: _Read,
        compiled: _Compile,
        *,
        is_quick: bool = False,
    ) -> Ruled:
        known = self._find(conn, tenant, _QUICK_MAX if is_quick else SIZE_MAX)
        if known is None:
            raise Unread(tenant, past)
        if not known.publications:
            return _NOTHING
        signature = known.publications.signature(past)
        ruled = known.answers.get(signature)
        if ruled is None:
            ruled = self._rule(tenant, known, past, read, compiled)
            known.answers.put(signature, ruled, 1)
        return ruled

    def lost(self, conn: sqlite3.Connection, tenant: TenantRef, past: Past) -> bool:
        """Whether something was published in a past that had effect before its feed was cut, as far as can be told.

        Raises NodeFault("database.damaged").
        """
        known = self._find(conn, tenant, SIZE_MAX)
        assert known is not None, "as many are read as there are"
        taken = known.publications.within(past, lambda one: known.fault(one) in {None, NOT_ROOT})
        return any(True for found in taken.values() for _ in found)

    def fault(
        self, conn: sqlite3.Connection, tenant: TenantRef, publication: Publication, *, with_text: bool = True
    ) -> str | None:
        """Why a publication has no effect in any past, by its text too if asked; None where it may have one.

        Raises NodeFault("database.damaged").
        """
        fault = fault_of_span(publication, self._standings.of(tenant.number))
        if fault or publication.hash is None or not with_text:
            return fault
        said = self._said(tenant, publication, lambda one: self.read(conn, tenant, one))
        return None if said == publication.name else OTHER_NAME if "." not in said else said

    def read(self, conn: sqlite3.Connection, tenant: TenantRef, publication: Publication) -> Reading:
        """The rule set that was published, or what is wrong with it. Raises NodeFault("database.damaged")."""
        kept, key = self._kept[tenant.number], _key(publication)
        rules = kept.texts.get(key)
        if rules is not None:
            return rules
        try:
            text = read_text(conn, publication.row).text
            rules = read_published_set(text, is_json=publication.media == "json")
        except RuleSetFaults as faults:
            kept.verdicts.put(key, faults.code, 1)
            return faults
        self.note(tenant, rules, key[1])
        return rules

    def note(self, tenant: TenantRef, rules: RuleSet, media: str) -> None:
        """Take note of a rule set that was read elsewhere, so that it is not again."""
        kept, key = self._kept[tenant.number], (rules.hash, media)
        kept.texts.put(key, rules, max(len(rules.text), RULE_TEXT_VAIN_BYTES_MIN))
        kept.verdicts.put(key, rules.name, 1)

    def members(self, tenant: TenantRef) -> Membership:
        """Who might publish now."""
        return self._standings.of(tenant.number)

    def published(self, tenant: TenantRef) -> int:
        """A number that grows with every publication in a tenant."""
        return self._since[tenant.number]

    def keep(self, step: Step) -> None:
        """Take note of what a commit brought."""
        if step.write.rows.get("publications"):
            self._since[step.state.tenant.number] = step.state.position
            self._known.pop(step.state.tenant.number, None)
        if step.write.rows.get("held"):
            self._holds[step.state.tenant.number] += 1

    def holds(self, tenant: TenantRef) -> int:
        """A number that grows whenever a draft is to wait for approval, or waits no more, since the start."""
        return self._holds[tenant.number]

    def forget(self) -> None:
        """Read everything again when it is needed; texts are what their hashes name, whatever became of a commit."""
        self._known.clear()
        for kept in self._kept.values():
            kept.forget_rows()

    def _find(self, conn: sqlite3.Connection, tenant: TenantRef, unread_max: int) -> _Known | None:
        """What is published in a tenant; None where more than so many publications are to be read for that."""
        number = tenant.number
        known, members = self._known.get(number), self._standings.of(number)
        if known is None or known.members is not members:
            kept = self._kept[number]
            found = read_publications(
                conn, tenant, self._store.feeds, members.ever_root, kept.published, unread_max=unread_max
            )
            if found is None:
                return None
            known = _Known(Publications(found), members, kept.faults_by(members), Recent(ANSWERS_MAX))
            # An older snapshot answers for itself alone.
            if newest_position(conn, number) >= self._since[number]:
                self._known[number] = known
                if newest_position(conn, number) < self._since[number]:
                    self._known.pop(number, None)
        return known

    def _said(self, tenant: TenantRef, publication: Publication, read: _Read) -> str:
        """The name of the rule set that a text is, or the code of what is wrong with it, which has a dot."""
        found = self._kept[tenant.number].verdicts.get(_key(publication))
        if found is None:
            reading = read(publication)
            found = reading.code if isinstance(reading, RuleSetFaults) else reading.name
        return found

    def _rule(self, tenant: TenantRef, known: _Known, past: Past, read: _Read, compiled: _Compile) -> Ruled:
        """What publications come to."""
        kept = self._kept[tenant.number]
        last: LastWords = last_words(
            known.publications.within(past, known.fault), lambda one: self._said(tenant, one, read) == one.name
        )
        sets: dict[str, RuleSet] = {}
        found = in_force(last.words)
        for name, one in found.items():
            reading = kept.texts.get(_key(one)) or read(one)
            assert isinstance(reading, RuleSet), "what is in force is sound"
            sets[name] = reading
        if not sets:
            return Ruled(last.words, {}, None, last.untried)
        key = frozenset(map(_key, found.values()))
        program = kept.programs.get(key)
        if program is None:
            program = compiled(list(sets.values()))
            kept.programs.put(key, program, sum(max(len(one.text), RULE_TEXT_VAIN_BYTES_MIN) for one in sets.values()))
        return Ruled(last.words, sets, program, last.untried)


def _key(publication: Publication) -> _Key:
    assert publication.hash is not None
    assert publication.media is not None
    return publication.hash, publication.media
