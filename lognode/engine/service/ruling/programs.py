"""The rules of all tenants, ready to be evaluated: what is in force for a past, read and compiled.

The writer tells of commits; everybody else asks, from the thread of whichever connection it reads by. What is read is
kept until something is published, and judged anew when the membership changes. Invariants: what is answered is a
function of what is committed and of the past, and costs a look into memory where nothing changed; what one tenant
publishes is kept apart from what another does.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from lognode.core.limits import RULE_SETS_MAX
from lognode.engine.ruling.inforce import Past, Publications, Signature, fault_of_span, in_force, last_words
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
READINGS_MAX: Final = 2 * RULE_SETS_MAX  # of a tenant's texts, some 100 kB each where they are large
OTHER_NAME: Final = "rule.other_name"
Reading = RuleSet | RuleSetFaults


class Ruled(NamedTuple):
    """What is in force for a past: by name the last words, and the sets that have effect; None without any of these."""

    words: Mapping[str, Publication]
    sets: Mapping[str, RuleSet]
    program: Program | None


_NOTHING: Final = Ruled({}, {}, None)


class _Known(NamedTuple):
    """What is known of a tenant while nothing is published and nobody's level changes."""

    publications: Publications
    members: Membership
    answers: dict[Signature, Ruled]


class Programs:
    """The rules of all tenants of a node. Its dictionaries are used from several threads, by single steps alone."""

    def __init__(self, store: Store, standings: Standings) -> None:
        self._store = store
        self._standings = standings
        self._known: dict[int, _Known] = {}
        self._newest: dict[int, Ruled] = {}  # the last answer of each tenant
        self._readings: defaultdict[int, dict[tuple[bytes, str], Reading]] = defaultdict(dict)
        self._holds: defaultdict[int, int] = defaultdict(int)
        self._since: defaultdict[int, int] = defaultdict(int)  # positions behind which all that was published is read

    def are_there(self, tenant: TenantRef) -> bool:
        """Whether anything may be in force in a tenant, as far as that can be told without looking."""
        known = self._known.get(tenant.number)
        return known is None or bool(known.publications.newest)

    def program(self, conn: sqlite3.Connection, tenant: TenantRef, past: Past) -> Program | None:
        """The rules in force for a past; None where there are none. Raises NodeFault("database.damaged")."""
        return self.ruled(conn, tenant, past).program

    def ruled(self, conn: sqlite3.Connection, tenant: TenantRef, past: Past) -> Ruled:
        """What is in force for a past. Raises NodeFault("database.damaged")."""
        known = self._find(conn, tenant)
        if not known.publications.newest:
            return _NOTHING
        signature = known.publications.signature(past)
        ruled = known.answers.get(signature)
        if ruled is None:
            before = [*known.answers.values(), self._newest.get(tenant.number, _NOTHING)]
            ruled = self._rule(conn, tenant, known, known.publications.within(past), before)
            if len(known.answers) >= ANSWERS_MAX:
                known.answers.clear()
            known.answers[signature] = self._newest[tenant.number] = ruled
        return ruled

    def fault(
        self, conn: sqlite3.Connection, tenant: TenantRef, publication: Publication, *, with_text: bool = True
    ) -> str | None:
        """Why a publication has no effect in any past, by its text too if asked; None where it may have one.

        Raises NodeFault("database.damaged").
        """
        if not with_text:
            return fault_of_span(publication, self._standings.of(tenant.number))
        return self._fault(conn, tenant, self._standings.of(tenant.number), publication)

    def read(self, conn: sqlite3.Connection, tenant: TenantRef, publication: Publication) -> Reading:
        """The rule set that was published, or what is wrong with it. Raises NodeFault("database.damaged")."""
        assert publication.hash is not None
        assert publication.media is not None
        readings, key = self._readings[tenant.number], (publication.hash, publication.media)
        reading = readings.get(key)
        if reading is None:
            try:
                reading = read_published_set(read_text(conn, publication.row).text, is_json=publication.media == "json")
            except RuleSetFaults as faults:
                reading = faults
            if len(readings) >= READINGS_MAX:
                readings.clear()
            readings[key] = reading
        return reading

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
        """Read everything again when it is needed."""
        self._known.clear()

    def _find(self, conn: sqlite3.Connection, tenant: TenantRef) -> _Known:
        number = tenant.number
        known, members = self._known.get(number), self._standings.of(number)
        if known is None or known.members is not members:
            found = read_publications(conn, tenant, self._store.feeds, members.ever_root)
            known = _Known(Publications(found), members, {})
            # An older snapshot answers for itself alone.
            if newest_position(conn, number) >= self._since[number]:
                self._known[number] = known
                if newest_position(conn, number) < self._since[number]:
                    self._known.pop(number, None)
        return known

    def _fault(
        self, conn: sqlite3.Connection, tenant: TenantRef, members: Membership, publication: Publication
    ) -> str | None:
        fault = fault_of_span(publication, members)
        if fault or publication.hash is None:
            return fault
        reading = self.read(conn, tenant, publication)
        if isinstance(reading, RuleSetFaults):
            return reading.code
        return None if reading.name == publication.name else OTHER_NAME

    def _rule(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        known: _Known,
        publications: Iterable[Publication],
        before: Sequence[Ruled],
    ) -> Ruled:
        """What publications come to; a program of `before` is taken where the same sets are in force."""
        words = last_words(publications, lambda one: self._fault(conn, tenant, known.members, one) is None)
        readings = {name: self.read(conn, tenant, one) for name, one in in_force(words).items()}
        sets = {name: reading for name, reading in readings.items() if isinstance(reading, RuleSet)}
        if not sets:
            return Ruled(words, {}, None)
        same = next((ruled for ruled in before if ruled.sets == sets), None)
        return Ruled(words, sets, same.program if same else compile_rules(list(sets.values())))
