"""Root members whose writer and store are as small as they can be, and those who come to them."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import trio

from lognode.core.access import Level
from lognode.core.ids import b32encode
from lognode.core.world import World as Outside
from lognode.federation.invites.invitation import Invitation
from lognode.federation.invites.messages import Answer, JoinRequest, Peer, decode_answer, encode_request, sign_request
from lognode.federation.invites.service.admissions import Admissions
from lognode.federation.invites.service.ground import Ground
from lognode.timeline.control.invites import invite_create_data
from lognode.timeline.members import Membership, membership
from lognode.timeline.record import TenantRef
from tests.timeline.members.nodes import NOW_MS, Node, World, keys_of

SCHEMA: Final = Path(__file__).parent.parent.parent / "lognode/timeline/store/schema"


class Root:
    """A root member whose writer and store are as small as they can be."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.now_ms = NOW_MS + 1000
        self.tenant = TenantRef(0, node.world.tenant, "default")
        self.tenants = {b32encode(self.tenant.tenant_id): self.tenant}
        self.noted: dict[bytes, Sequence[str]] = {}
        self._lock = trio.Lock()
        self._known: tuple[int, Membership] | None = None
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for name in ("0001_timeline.sql", "0004_federation.sql"):
            self._db.executescript((SCHEMA / name).read_text())
        world = Outside(lambda: self.now_ms, lambda: 0.0, os.urandom)
        ground: Any = Ground(self, self, self, world, node.keys)  # type: ignore[arg-type]
        self.admissions = Admissions(
            ground, lambda _tenant: [Peer(node.keys.public, b"cert", ())], self.noted.__setitem__
        )

    def of(self, _tenant: int) -> Membership:
        if self._known is None or self._known[0] != len(self.node.known):
            self._known = len(self.node.known), membership(self.node.world.tenant, list(self.node.known.values()))
        return self._known[1]

    async def append_control(self, _tenant: TenantRef, kind: str, build: Callable[[Membership, Any], bytes]) -> Any:
        async with self._lock:
            await trio.lowlevel.checkpoint()
            return self.node.write(kind, lambda after: build(self.of(0), after))

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return fn(self._db, *args)

    write = read

    async def ask(self, request: JoinRequest) -> Answer:
        return decode_answer(await self.admissions.answer(encode_request(request)))


def founder() -> Root:
    return Root(World().founder)


def invite(root: Root, name: str = "invite", **terms: Any) -> Invitation:
    """An invite that this root made."""
    asked = {"level": Level.TRUSTED, "uses": 1, "expires_ms": NOW_MS * 2, "approve": False, **terms}
    made = Invitation(root.tenant.tenant_id, seed=sha256(name.encode()).digest(), servers=(), **asked)
    root.node.write("invite.create", lambda after: invite_create_data(after, made.key.public, **asked))
    return made


def ask(root: Root, made: Invitation, joiner: str, **other: Any) -> JoinRequest:
    """What a joiner says to a root, for the first time or again."""
    nonce = os.urandom(16)
    return sign_request(keys_of(joiner), made, other.get("server", root.node.keys.public), nonce, ("192.0.2.1:7481",))
