"""Where nodes may be reached, and where this one may be.

Gathers addresses from people, invites, members and announcements, hands them out in the order in which to try them,
and learns how that went. Keeps them in the database, written now and then: a lost row costs one more try. Invariant:
what only the network vouches for is given out once a second at most, whoever asks.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
import trio

from lognode.core.limits import ADDRESSES_MAX, ADDRESSES_SAVE_S, ADDRESSES_TRIED_MAX, CANDIDATES_MAX
from lognode.core.world import World
from lognode.federation.addresses.address import Address, Scope, parse_address, parse_told
from lognode.federation.addresses.announcement import Announcement, key_prefix
from lognode.federation.addresses.candidates import Candidates, Pace
from lognode.federation.addresses.ledger import Entry, Ledger, Source, told
from lognode.federation.addresses.store import load_addresses, save_addresses
from lognode.timeline.store.database import Store

_log: Final = structlog.get_logger(__name__)
SAVE_S_MAX: Final = 1  # so long a node that ends waits for the last of it


class Directory:
    """Addresses of nodes by their keys, as HOST:PORT."""

    def __init__(self, store: Store, world: World, static: Sequence[str] = ()) -> None:
        """`static` are addresses that a person set, whosever they are; they have been checked."""
        self.least = Scope.ROUTED  # how far an address must reach at least that another node tells
        self._store = store
        self._world = world
        self._static = tuple(parse_address(text) for text in static)
        self._ledger = Ledger()
        self._candidates = Candidates()
        self._pace = Pace()
        self._given_s: dict[Address, float] = {}  # when each candidate was given out last
        self._wanted: dict[str, int] = {}  # key prefix -> how many look for it
        self._unsaved: set[bytes] = set()  # nodes
        self._dirty = trio.Event()
        self._version = 0
        self._news = trio.Event()

    async def load(self) -> None:
        """Read what was known when the node ran last."""
        self._ledger = await self._store.read(load_addresses)
        self._ledger.expire(self._world.now_ms())

    async def run(self) -> None:
        """Write what is learnt, until cancelled; what is not written yet then is written first."""
        try:
            while True:
                await self._dirty.wait()
                await trio.sleep(ADDRESSES_SAVE_S)
                await self.save()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(SAVE_S_MAX):
                await self.save()

    async def save(self) -> None:
        """Write what is not written yet."""
        nodes = {node_key: self._ledger.of(node_key) for node_key in self._unsaved}
        if not nodes:
            return
        self._unsaved, self._dirty = set(), trio.Event()
        try:
            await self._store.write(save_addresses, nodes)
        except sqlite3.Error as error:  # the writer answers for the database; this can wait
            self._unsaved |= nodes.keys()
            self._dirty.set()
            _log.warning("addresses_not_saved", error=str(error))

    # What is learnt.

    def note(self, node_key: bytes, addresses: Iterable[str], source: Source) -> None:
        """That `source` says a node is at these addresses; those that make no sense here are left out."""
        least = Scope.LOOPBACK if source == "invite" else self.least
        for address in parse_told(addresses, ADDRESSES_MAX, least):
            self._add(node_key, told(address, source, self._world.now_ms()))

    def tried(self, node_key: bytes, address: str, code: str | None) -> None:
        """How trying an address ended: the node answered (None), or this error."""
        if code is None:
            self.reached(node_key, address)
        else:
            self.failed(node_key, address, code)

    def reached(self, node_key: bytes, address: str) -> None:
        """That the node answered there, and proved its key."""
        place = parse_address(address)
        entry = told(place, self._source_of(node_key, place), self._world.now_ms())
        self._add(node_key, entry._replace(reached_ms=self._world.now_ms()))

    def failed(self, node_key: bytes, address: str, code: str) -> None:
        """That trying there ended with this error; nothing where the address is only a candidate."""
        known = self._ledger.entry(node_key, parse_address(address))
        if known is not None:
            self._add(node_key, known._replace(failed_ms=self._world.now_ms(), error=code))

    def forget(self, node_key: bytes) -> None:
        """Drop a node that is nobody's member any longer."""
        self._ledger.forget(node_key)
        self._save_soon(node_key)

    def hear(self, name: str, announcement: Announcement) -> None:
        """That the network announces a node."""
        if self._candidates.put(name, announcement, self._wanted.keys()):
            self.tell()

    def unhear(self, name: str) -> None:
        """That an announcement was taken back."""
        self._candidates.remove(name)

    def unhear_all(self) -> None:
        """That nobody listens to announcements now: those who go meanwhile would stay for ever."""
        self._candidates.clear()

    # What is asked.

    def reach(self, node_key: bytes) -> tuple[str, ...]:
        """Where to try a node now, in this order; it counts as trying them.

        Candidates are among them where the node did not answer at a known address last, and the pace allows.
        """
        known = self._ledger.of(node_key)[:ADDRESSES_TRIED_MAX]
        addresses = [entry.address for entry in known]
        if not known or not known[0].is_good:
            announced = [place for heard in self._matching(node_key) for place in heard.peer_addresses]
            candidate = self._take([*announced, *self._unclaimed(node_key)], addresses)
            addresses = addresses if candidate is None else [candidate, *addresses]
        return tuple(map(str, addresses))

    async def wait_join(self, node_keys: Sequence[bytes], tried: set[str]) -> tuple[bytes, str]:
        """Wait for an announcement by one of these nodes that one may join at an address not `tried` yet, in its turn.

        Gives the key that is claimed there, which nothing proves, and the address, now among the `tried`.
        """
        while True:
            seen = self._version
            places = {
                str(place): node_key
                for node_key in node_keys
                for heard in self._matching(node_key)
                for place in heard.join_addresses
            }
            address = next((place for place in places if place not in tried), None)
            if address is None:
                await self.wait_change(seen)
            elif self._pace.take(self._world.monotonic_s()):
                tried.add(address)
                return places[address], address
            else:
                await trio.sleep(self._pace.wait_s(self._world.monotonic_s()))

    @contextmanager
    def wanting(self, *node_keys: bytes) -> Iterator[None]:
        """While inside, these nodes are looked for."""
        prefixes = [key_prefix(node_key) for node_key in node_keys]
        for prefix in prefixes:
            self._wanted[prefix] = self._wanted.get(prefix, 0) + 1
        self.tell()
        try:
            yield
        finally:
            for prefix in prefixes:
                self._wanted[prefix] -= 1
                if not self._wanted[prefix]:
                    del self._wanted[prefix]
            if not self._wanted:
                self._candidates.clear()
            self.tell()

    @property
    def is_wanting(self) -> bool:
        """Whether any node is looked for."""
        return bool(self._wanted)

    @property
    def version(self) -> int:
        """Rises with every new address or announcement, and with what is looked for."""
        return self._version

    async def wait_change(self, seen: int) -> int:
        """Wait until the version is beyond `seen`; gives it."""
        while self._version <= seen:
            await self._news.wait()
        return self._version

    def known(self, node_key: bytes) -> list[Entry]:
        """What is known of a node's addresses, in the order in which they are tried."""
        return self._ledger.of(node_key)

    def announced(self, node_key: bytes) -> list[Announcement]:
        """What announces itself as this node now."""
        return self._matching(node_key)

    def candidates(self) -> list[Announcement]:
        """All that announces itself now."""
        return list(self._candidates)

    @property
    def static(self) -> tuple[str, ...]:
        """The addresses that a person set."""
        return tuple(map(str, self._static))

    def _matching(self, node_key: bytes) -> list[Announcement]:
        return self._candidates.matching(key_prefix(node_key))

    def _unclaimed(self, node_key: bytes) -> list[Address]:
        """Static addresses at which no other node was found last."""
        taken = {
            entry.address
            for other in self._ledger
            if other != node_key
            for entry in self._ledger.of(other)
            if "static" in entry.sources and entry.is_good
        }
        return [address for address in self._static if address not in taken]

    def _take(self, candidates: Iterable[Address], known: Sequence[Address]) -> Address | None:
        """The candidate that was given out longest ago, if one may be tried now."""
        waiting = [address for address in candidates if address not in known]
        now_s = self._world.monotonic_s()
        if not waiting or not self._pace.take(now_s):
            return None
        chosen = min(waiting, key=lambda address: self._given_s.get(address, float("-inf")))
        self._given_s.pop(chosen, None)
        self._given_s[chosen] = now_s
        if len(self._given_s) > CANDIDATES_MAX:
            del self._given_s[next(iter(self._given_s))]
        return chosen

    def _source_of(self, node_key: bytes, address: Address) -> Source:
        """Who told of an address at which a node was reached."""
        known = self._ledger.entry(node_key, address)
        if known is not None:
            return next(iter(known.sources))
        return "static" if address in self._static else "mdns"

    def _add(self, node_key: bytes, entry: Entry) -> None:
        is_new = self._ledger.entry(node_key, entry.address) is None
        if self._ledger.add(node_key, entry):
            self._save_soon(node_key)
            if is_new:
                self.tell()

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        self._version += 1
        self._news.set()
        self._news = trio.Event()

    def _save_soon(self, node_key: bytes) -> None:
        self._unsaved.add(node_key)
        self._dirty.set()
