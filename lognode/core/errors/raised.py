"""The exceptions that carry codes of the table. Blame is in the type."""

from collections.abc import Mapping
from itertools import chain
from typing import Final

from lognode.core.errors import requests, values
from lognode.core.errors.agreement import copies, forks, policies, records, states
from lognode.core.errors.federation import addresses, connections, intake, joining, links, peers
from lognode.core.errors.node import files, identity, work
from lognode.core.errors.rules import approvals, decisions, documents, publishing, subscriptions, tasks
from lognode.core.errors.spec import ErrorSpec

_TABLES: Final = (
    requests, values, records, forks, joining, addresses, files, identity, work, peers, connections, intake, links,
    copies, policies, states, documents, tasks, publishing, decisions, approvals, subscriptions,
)  # fmt: skip
ERRORS: Final[Mapping[str, ErrorSpec]] = {
    row[0]: ErrorSpec(*row) for row in chain.from_iterable(table.ROWS for table in _TABLES)
}


class LognodeError(Exception):
    """An error with a code of the table, a detail for people, and where it was; `hint` in place of the table's."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        place: str | None = None,
        retry_after_s: int | None = None,
        extra: Mapping[str, object] | None = None,
        hint: str | None = None,
    ) -> None:
        assert code in ERRORS, f"error code {code!r} is not in the table"
        super().__init__(f"{ERRORS[code].title}: {detail}" if detail else ERRORS[code].title)
        self.code = code
        self.detail = detail
        self.place = place
        self.retry_after_s = retry_after_s
        self.extra: dict[str, object] = dict(extra or {})
        self.hint = hint or ERRORS[code].hint

    @property
    def spec(self) -> ErrorSpec:
        """The row of this error's code."""
        return ERRORS[self.code]

    def problem(self) -> dict[str, object]:
        """This error as an RFC 9457 problem: the members of the table, detail, place, and the extra ones."""
        spec = self.spec
        body: dict[str, object] = {
            **self.extra,
            "type": f"urn:lognode:error:{spec.code}",
            "title": spec.title,
            "status": spec.status,
            "detail": self.detail or spec.title,
            "code": spec.code,
            "hint": self.hint,
            "retryable": spec.retryable,
        }
        if self.place is not None:
            body["place"] = self.place
        return body


class CallerError(LognodeError):
    """The caller's mistake: answer it, change nothing."""


class PeerError(LognodeError):
    """Another node's mistake: drop that record or that peer, and go on with the rest."""


class NodeFault(LognodeError):
    """This node cannot do its work."""
