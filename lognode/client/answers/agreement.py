"""What a node answers about what all nodes come to from the same spans."""

from typing import NotRequired, TypedDict


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
