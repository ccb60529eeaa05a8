"""The types of answers about where other nodes are: JSON objects as the node sends them, with names."""

from typing import TypedDict


class Reason(TypedDict):
    """Why something does not work, and what to do instead."""

    code: str
    title: str
    detail: str
    hint: str


class Listener(TypedDict):
    """Where a node listens for members (`peer`) or joiners (`join`): `bound` while up, and what others are told."""

    name: str
    bound: str | None
    addresses: list[str]
    error: Reason | None


class Discovery(TypedDict):
    """What multicast discovery does now, and why it may find nobody."""

    on: bool
    announcing: bool
    browsing: bool
    findings: list[Reason]


class Address(TypedDict):
    """An address of a member, who told it, and how trying it went; `error` is the code of the last failure."""

    address: str
    sources: list[str]
    told_at: str
    reached_at: str | None
    failed_at: str | None
    error: str | None


class Peer(TypedDict):
    """Another member. `link` is how it goes with it; `announced` is where it says to be now."""

    node: str
    level: str
    link: str | None
    error: Reason | None
    addresses: list[Address]
    announced: list[str]


class Candidate(TypedDict):
    """Something on the network that says to be a node whose key begins so, and where; nothing proves it."""

    key_prefix: str
    addresses: list[str]
    join_addresses: list[str]


class Peers(TypedDict):
    """The other members of a tenant, the node's own side, and what else it heard of on the network."""

    peers: list[Peer]
    listeners: list[Listener]
    discovery: Discovery
    static: list[str]
    candidates: list[Candidate]
