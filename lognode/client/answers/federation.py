"""The types of answers about other nodes: JSON objects as the node sends them, with names for their fields."""

from typing import TypedDict

from lognode.client.answers.node import Receipt


class Server(TypedDict):
    """A root that an invite names, and where it can be joined."""

    node: str
    addresses: list[str]


class Issued(TypedDict):
    """A new invite. `invite` is a secret: who holds it can join."""

    id: str
    invite: str
    level: str
    uses: int
    expires_at: str
    approve: bool
    servers: list[Server]
    listening: bool


class Invite(TypedDict):
    """An invite without its secret; `state` is open, expired, revoked or used_up."""

    id: str
    state: str
    level: str
    uses: int
    joined: list[str]
    expires_at: str
    approve: bool
    created_by: str


class Invites(TypedDict):
    """The invites of a tenant."""

    invites: list[Invite]


class Revoked(TypedDict):
    """That an invite lets nobody in; `receipt` is null where it was revoked before."""

    id: str
    receipt: Receipt | None


class Votes(TypedDict):
    """Open votes to remove a member: who voted, who may, and how many it takes in all."""

    voted: list[str]
    entitled: list[str]
    needed: int


class Member(TypedDict):
    """A node of the tenant; `self` is the one that answers, `words` what both ends of its joining showed."""

    node: str
    level: str
    self: bool
    removed: bool
    admission: str
    admitted_by: str | None
    words: str | None
    removal_votes: Votes | None


class Members(TypedDict):
    """The members of a tenant as a node knows them."""

    members: list[Member]


class Waiting(TypedDict):
    """A node that waits for approval; its `words` have to be those that it shows itself."""

    node: str
    words: str
    level: str
    invite: str
    first_at: str
    newest_at: str


class Waitings(TypedDict):
    """The nodes that wait for approval at the node that answers."""

    pending: list[Waiting]


class Changed(TypedDict):
    """A change of a member, whether it counts, and how the member stands now."""

    node: str
    level: str
    removed: bool
    effective: bool
    receipt: Receipt | None
    removal_votes: Votes | None


class Approved(TypedDict):
    """That a node is a member now."""

    node: str
    admission: str


class Joined(TypedDict):
    """What joining came to; `state` is member, syncing or pending, `name` what to call the tenant there."""

    tenant: str
    name: str
    state: str
    level: str
    server: str | None
    words: str | None
    retry_s: int | None


class SyncWant(TypedDict):
    """Entries [start, stop) of a feed that a peer claims and the node lacks; `code` says why it has not taken them."""

    feed: str
    start: int
    stop: int
    code: str | None


class SyncFailure(TypedDict):
    """What went wrong with a peer last, and a way out."""

    code: str
    title: str
    detail: str
    hint: str


class Finding(TypedDict):
    """Something that is not as it should be, how many times, and what to do.

    `node` is whom it is about: the author of what is void or ahead of time. `at` is when it was found last.
    """

    code: str
    count: int
    node: str | None
    at: str | None
    title: str
    detail: str
    hint: str


class PeerSync(TypedDict):
    """How it goes with one peer: `state` is live, syncing, waiting, unreachable, refused or failing.

    `lag_s` counts since both last held the same, `rounds` comparisons that ended. `error` is what went wrong last,
    `findings` all that it sent and was refused.
    """

    node: str
    state: str
    direction: str | None
    lag_spans: int
    lag_s: float | None
    sent_spans: int
    received_spans: int
    rounds: int
    equal_at: str | None
    contact_at: str | None
    retry_s: float | None
    error: SyncFailure | None
    wants: list[SyncWant]
    findings: list[Finding]


class Sync(TypedDict):
    """How it goes with the other nodes of a tenant, and what of it is void, ahead of time or in the node's way."""

    peers: list[PeerSync]
    findings: list[Finding]
