"""Publishing rule sets: what is in force now, and changing it.

Owns the checks between an author's text and the span that publishes it. Invariant: what this node publishes is sound,
and has effect from its next span on; whoever names the version that it knows changes no other.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import trio

from lognode.core.access import Level
from lognode.core.clock import hlc_from_ms
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import (
    CLOCK_AHEAD_MS_MAX,
    PUBLISH_TRIES_MAX,
    RULE_SET_VERSIONS_MAX,
    RULE_SETS_BYTES_MAX,
    SIZE_MAX,
)
from lognode.core.world import World
from lognode.engine.receipt import Receipt
from lognode.engine.ruling.inforce import in_force
from lognode.engine.service.ruling.programs import Reading, Ruled, Unread
from lognode.engine.service.writer import Writer
from lognode.rules.document import RuleSet
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.grammar.reading import read_rule_set
from lognode.timeline.agreement.rules.publications import (
    DISABLE,
    PUBLISH,
    Media,
    Publication,
    rule_disable_data,
    rule_publish_data,
)
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.pasts import named_past
from lognode.timeline.store.rules.publications import held_past, next_names, read_versions
from lognode.timeline.store.write import find_open_feeds

_MOVED: Final = "rule.changed"


class Wanted(NamedTuple):
    """What has to be in force of a name for a change to be made: this version; or nothing, with `is_new`."""

    version: bytes | None = None
    is_new: bool = False


ANYTHING: Final = Wanted()


class Published(NamedTuple):
    """A change: what is in force then and what was before, None where nothing is.

    No receipt where nothing was written: it was to be tried only, or is in force already.
    """

    name: str
    before: RuleSet | None
    after: RuleSet | None
    receipt: Receipt | None


class Version(NamedTuple):
    """A publication, why it has no effect in any past, and whether its text is in force now."""

    publication: Publication
    fault: str | None
    is_in_force: bool


class Publishing:
    """The rule sets of all tenants, for people."""

    def __init__(self, store: Store, writer: Writer, world: World, own_key: bytes) -> None:
        self._store = store
        self._writer = writer
        self._programs = writer.programs
        self._world = world
        self._own_key = own_key

    async def now(self, tenant: TenantRef) -> Ruled:
        """What will be in force for the next span of this node. Raises NodeFault("database.damaged")."""
        past = await self._store.read(held_past, tenant, self._ahead())
        await self._programs.read_ahead(Unread(tenant, past))
        return await self._store.read(self._programs.ruled, tenant, past)

    async def here(self, tenant: TenantRef, now: Ruled) -> Ruled:
        """What this node decides by until it names what it took in since; `now` on a node that writes nothing.

        Raises NodeFault("database.damaged").
        """
        past = await self._store.read(self._own_past, tenant)
        if past is None:
            return now
        await self._programs.read_ahead(Unread(tenant, past))
        return await self._store.read(self._programs.ruled, tenant, past)

    def _own_past(self, conn: sqlite3.Connection, tenant: TenantRef) -> dict[int, int] | None:
        """What this node has named, and all that it wrote itself; None where it has no feed."""
        feed = find_open_feeds(conn).get(tenant.number)
        if feed is None:
            return None
        return {**named_past(conn, self._store.feeds, feed.number, SIZE_MAX), feed.number: SIZE_MAX}

    async def names(self, tenant: TenantRef, after: str, limit: int) -> list[str]:
        """The names behind `after` that anybody published something under, whether or not it counts."""
        return await self._store.read(next_names, tenant, after, limit)

    async def versions(self, tenant: TenantRef, name: str) -> list[Version]:
        """The newest publications of a name, the newest first. Raises CallerError("rule.unknown"), NodeFault.

        Texts of older ones are not read for that: what is wrong with them is not said.
        """
        ruled = await self.now(tenant)
        found = await self._store.read(self._versions, tenant, name, ruled, RULE_SET_VERSIONS_MAX)
        if not found:
            raise CallerError("rule.unknown", f"nobody published {name!r:.80}")
        return found

    async def last(self, tenant: TenantRef, name: str, ruled: Ruled) -> Version | None:
        """The last word on a name, else the newest publication of it, whatever that counts for."""
        if name in ruled.words:
            return Version(ruled.words[name], None, name in ruled.sets)
        return next(iter(await self._store.read(self._versions, tenant, name, ruled, 1)), None)

    def _versions(
        self, conn: sqlite3.Connection, tenant: TenantRef, name: str, ruled: Ruled, limit: int
    ) -> list[Version]:
        found = []
        last, room = ruled.words.get(name), RULE_SETS_BYTES_MAX
        for one in read_versions(conn, tenant, self._store.feeds, name, limit):
            room -= one.size
            fault = self._programs.fault(conn, tenant, one, with_text=room >= 0)
            found.append(Version(one, fault, name in ruled.sets and last is not None and one.id == last.id))
        return found

    async def find(self, tenant: TenantRef, name: str, version: str | None) -> tuple[Version, RuleSet]:
        """A version by the beginning of its hash, by default the one in force or the last that was; with its text.

        Raises CallerError rule.unknown, rule.unknown_version, the code of what is wrong with the text; and NodeFault.
        """
        held = [one for one in await self.versions(tenant, name) if one.publication.hash is not None]
        if version is not None:
            held = [one for one in held if _is_named(one.publication, version)]
            if len({one.publication.hash for one in held}) > 1:
                raise CallerError("rule.unknown_version", f"{version!r:.80} may be any of several")
        chosen = next((one for one in held if one.is_in_force), None)
        chosen = chosen or next((one for one in held if one.fault is None), held[0] if held else None)
        if chosen is None:
            raise CallerError("rule.unknown_version", f"{name} has no version {version or 'with a text'!r:.80}")
        reading = await self._store.read(self._programs.read, tenant, chosen.publication)
        return chosen, _sound(reading)

    async def publish(
        self, tenant: TenantRef, text: bytes, media: Media, *, wanted: Wanted = ANYTHING, is_trial: bool = False
    ) -> Published:
        """Have a text in force from the next span on.

        Raises RuleSetFaults, CallerError rule.changed, rule.too_many, member.not_root and others as appends do.
        """
        rules = await trio.to_thread.run_sync(partial(read_rule_set, text, is_json=media == "json"))

        def build(after: list[SpanId]) -> bytes:
            return rule_publish_data(after, rules.name, media, text)

        def check(ruled: Ruled) -> bool:
            last = ruled.words.get(rules.name)
            if ruled.untried is not None and rules.name >= ruled.untried:
                raise CallerError("rule.too_many", f"of {ruled.untried} are too many texts that are no rule sets")
            if last is not None and (last.hash, last.media) == (rules.hash, media) and rules.name in ruled.sets:
                return False
            self._programs.note(tenant, rules, media)
            fresh = Publication(rules.name, rules.hash, SpanId(b""), 0, FeedId(b""), 0, 0, b"", (), media, len(text))
            if not {*ruled.sets, rules.name} <= in_force({**ruled.words, rules.name: fresh}).keys():
                raise CallerError("rule.too_many", f"{len(ruled.sets)} rule sets are in force")
            return True

        title = f"{rules.name}, {len(rules.rules)} rule{'s' if len(rules.rules) != 1 else ''}"
        draft = Draft(kind=PUBLISH, title=title)
        change = _Change(rules.name, draft, rules, build, check)
        return await self._make(tenant, change, wanted, is_trial=is_trial)

    async def disable(
        self, tenant: TenantRef, name: str, *, wanted: Wanted = ANYTHING, is_trial: bool = False
    ) -> Published:
        """Have a rule set in force no more from the next span on.

        Raises CallerError rule.unknown, rule.changed, member.not_root and others as appends do.
        """

        def check(ruled: Ruled) -> bool:
            if name not in ruled.words:
                raise CallerError("rule.unknown", f"no root member published {name!r:.80}")
            return ruled.words[name].hash is not None

        change = _Change(name, Draft(kind=DISABLE, title=name), None, partial(rule_disable_data, name=name), check)
        return await self._make(tenant, change, wanted, is_trial=is_trial)

    async def roll_back(
        self, tenant: TenantRef, name: str, version: str, *, wanted: Wanted = ANYTHING, is_trial: bool = False
    ) -> Published:
        """Publish an earlier version again, named by the beginning of its hash. Raises as `publish` and `find` do."""
        found, rules = await self.find(tenant, name, version)
        if found.fault is not None:
            raise CallerError("rule.unknown_version", f"it never had effect: {found.fault}")
        assert found.publication.media is not None
        return await self.publish(tenant, rules.text, found.publication.media, wanted=wanted, is_trial=is_trial)

    async def _make(self, tenant: TenantRef, change: "_Change", wanted: Wanted, *, is_trial: bool) -> Published:
        """Make a change, unless somebody else makes one again and again meanwhile."""
        for tries_left in reversed(range(PUBLISH_TRIES_MAX)):
            seen = self._programs.published(tenant)
            ruled = await self.now(tenant)
            before = ruled.sets.get(change.name)
            _check_wanted(wanted, before)
            self._check_level(self._programs.members(tenant))
            is_news = change.check(ruled)
            if change.rules is not None and is_news:
                others = [rules for name, rules in ruled.sets.items() if name != change.name]
                await trio.to_thread.run_sync(compile_rules, [*others, change.rules])
            if is_trial or not is_news:
                return Published(change.name, before, change.rules, None)
            try:
                build = partial(self._build, tenant, change, seen)
                receipt = await self._writer.append_control(tenant, change.draft.kind, build, like=change.draft)
            except CallerError as error:
                if error.code != _MOVED or not tries_left:
                    raise
                continue
            return Published(change.name, before, change.rules, receipt)
        raise AssertionError("the last try returns or raises")

    def _build(
        self, tenant: TenantRef, change: "_Change", seen: int, members: Membership, after: list[SpanId]
    ) -> bytes:
        if self._programs.published(tenant) != seen:
            raise CallerError(_MOVED, "somebody published meanwhile")
        self._check_level(members)
        return change.build(after)

    def _check_level(self, members: Membership) -> None:
        if members.level(self._own_key) < Level.ROOT:
            raise CallerError("member.not_root", "only a root member publishes rules")

    def _ahead(self) -> int:
        return hlc_from_ms(self._world.now_ms() + CLOCK_AHEAD_MS_MAX)


class _Change(NamedTuple):
    """A change of what is in force: of which name, to what; `check` says whether it changes anything."""

    name: str
    draft: Draft
    rules: RuleSet | None
    build: Callable[[list[SpanId]], bytes]
    check: Callable[[Ruled], bool]


def _check_wanted(wanted: Wanted, before: RuleSet | None) -> None:
    if wanted.is_new and before is not None:
        raise CallerError(_MOVED, f"it is in force as {before.hash.hex()}", extra={"version": before.hash.hex()})
    if wanted.version is not None and (before is None or before.hash != wanted.version):
        shown = before.hash.hex() if before else None
        raise CallerError(_MOVED, f"in force is {shown or 'nothing'}", extra={"version": shown})


def _is_named(publication: Publication, version: str) -> bool:
    return publication.hash is not None and publication.hash.hex().startswith(version)


def _sound(reading: Reading) -> RuleSet:
    if isinstance(reading, RuleSet):
        return reading
    raise reading
