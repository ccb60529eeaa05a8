"""What a node answers about what all nodes come to from the same spans."""

from typing import Any, NotRequired, TypedDict


class Place(TypedDict):
    """A span, and where it stands; `void` says why it has no effect and is outside every order."""

    id: str
    kind: str
    at: str
    node: str
    feed: str
    seq: int
    void: NotRequired[str]


class Relation(TypedDict):
    """How `span` stands to `other`: equal, before, after or concurrent; None where one of them is void.

    `lacking` are feeds of which authors knew more than the node holds: while there are any, "concurrent" may turn out
    to be "before" or "after".
    """

    relation: str | None
    span: Place
    other: Place
    lacking: list[str]


class Branch(TypedDict):
    """One history of a forked feed, kept from `start` to before `stop`; "held" is the one taken in first."""

    tip: str
    start: int
    stop: int


class Fork(TypedDict):
    """A feed with two histories: nothing counts from entry `seq` on; `spans` are the two of the proof.

    `own`: the node wrote it. `found_here`: it found it itself. `told`: a span that counts says so to all.
    """

    feed: str
    node: str
    own: bool
    seq: int
    spans: list[str]
    found_here: bool
    told: bool
    branches: list[Branch]


class Forks(TypedDict):
    """The feeds of a tenant that are known to have two histories."""

    forks: list[Fork]


class BranchEntry(TypedDict):
    """An entry of a history; what is malformed or withheld in it is missing."""

    id: str
    seq: int
    at: str
    visibility: str | None
    kind: NotRequired[str]
    title: NotRequired[str | None]
    subject: NotRequired[str | None]
    data: NotRequired[Any]


class BranchEntries(TypedDict):
    """Entries of one history, in order; `next` is where to go on, None at the end."""

    feed: str
    tip: str
    entries: list[BranchEntry]
    next: int | None
