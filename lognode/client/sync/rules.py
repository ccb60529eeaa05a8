# Made from lognode/client/aio/rules.py by scripts/sync-client: change that file, then run the script.
"""Rule sets, and what waits for approval, as methods of the client.

No change is sent twice: one that was made and whose answer was lost would be made again.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast
from urllib.parse import quote

import httpx
import msgspec

from lognode.client.answers import parse_answer
from lognode.client.answers.approvals import Answered, Approval
from lognode.client.answers.rules import (
    Account,
    BacktestLine,
    Decision,
    Difference,
    Published,
    RuleSet,
    RuleText,
    Versions,
)
from lognode.client.sync.session import Headers, Params, Session
from lognode.core.errors import NodeFault


class Rules:
    """The part of a client that is about rules."""

    _session: Session
    _base: str

    def rule_sets(self) -> Iterator[RuleSet]:
        """All rule sets by name, also disabled ones, read page by page as they are iterated."""
        after: list[tuple[str, str]] = []
        while True:
            page = parse_answer(self._session.request("GET", f"{self._base}/rules", params=after))
            for rule_set in page["rules"]:
                yield cast("RuleSet", rule_set)
            if page["next"] is None:
                return
            after = [("after", page["next"])]

    def rule_set(self, name: str, version: str | None = None) -> RuleText:
        """A version of a rule set, by default the one in force, or the last that was; with its text.

        The beginning of a version is enough. Raises CallerError rule.unknown or rule.unknown_version.
        """
        params = [] if version is None else [("version", version)]
        return cast("RuleText", self._read(self._rule_set_path(name), params))

    def rule_versions(self, name: str) -> Versions:
        """The newest publications of a rule set, the newest first. Raises CallerError("rule.unknown")."""
        return cast("Versions", self._read(f"{self._rule_set_path(name)}/versions"))

    def compare_rules(self, name: str, earlier: str, later: str | None = None) -> Difference:
        """What one version changes of another, by default the one in force of the one that is named.

        Raises CallerError rule.unknown or rule.unknown_version.
        """
        params = [("from", earlier), *([("to", later)] if later is not None else [])]
        return cast("Difference", self._read(f"{self._rule_set_path(name)}/diff", params))

    def publish_rules(
        self,
        text: bytes,
        *,
        media: Literal["yaml", "json"] = "yaml",
        if_version: str | None = None,
        if_new: bool = False,
        dry_run: bool = False,
    ) -> Published:
        """Have the rule set in `text` in force, in place of the one of its name.

        With `if_version` only where that version is in force, with `if_new` only where none is; with `dry_run` it only
        says what would come of it. Raises CallerError: for mistakes in the text one whose `extra` holds all `faults`
        with their lines and columns, rule.changed, rule.too_many or member.not_root.
        """
        headers = [("Content-Type", f"application/{media}"), *_conditions(if_version, if_new=if_new)]
        return self._send("POST", f"{self._base}/rules", text, headers, dry_run=dry_run)

    def disable_rules(self, name: str, *, if_version: str | None = None, dry_run: bool = False) -> Published:
        """Have a rule set in force no more. Raises CallerError rule.unknown, rule.changed or member.not_root."""
        headers = _conditions(if_version)
        return self._send("DELETE", self._rule_set_path(name), b"", headers, dry_run=dry_run)

    def roll_back_rules(
        self, name: str, version: str, *, if_version: str | None = None, dry_run: bool = False
    ) -> Published:
        """Publish an earlier version again; the beginning of it is enough.

        Raises CallerError rule.unknown, rule.unknown_version, rule.changed or member.not_root.
        """
        headers = [("Content-Type", "application/json"), *_conditions(if_version)]
        content = msgspec.json.encode({"version": version})
        return self._send("POST", f"{self._rule_set_path(name)}/rollback", content, headers, dry_run=dry_run)

    def decision(self, span_id: str, *, recheck: bool = False) -> Decision:
        """What rules decide about a span, and by which conditions; computed anew from what its node had named.

        With `recheck` also whether what nodes say of it is what it had to be. Raises CallerError("span.unknown").
        """
        params = [("recheck", "true")] if recheck else []
        return cast("Decision", self._read(self._decision_path(span_id), params))

    def why_not(self, span_id: str, rule_set: str, rule: str) -> Account:
        """Why a rule did not fire for a span; if it did, why it did. Raises CallerError("span.unknown")."""
        path = f"{self._decision_path(span_id)}/{quote(rule_set, safe='')}/{quote(rule, safe='')}"
        return cast("Account", self._read(path))

    @contextmanager
    def backtest(
        self,
        text: bytes,
        *,
        media: Literal["yaml", "json"] = "yaml",
        since: str | None = None,
        until: str | None = None,
        kinds: Sequence[str] = (),
        alone: bool = False,
        outcomes: bool = False,
    ) -> Iterator[Iterator[BacktestLine]]:
        """What the rule set in `text` would have done to what is stored, line by line; the last has the report.

        It judges beside the other sets in force, or `alone`. Nothing is written. With `outcomes` there is a line for
        each span for which a rule fired or failed. Raises CallerError for mistakes in the text, as `publish_rules`
        does, NodeFault rule.trials_busy, and client.protocol where the node breaks off.
        """
        named = {"since": since, "until": until, "alone": "true" if alone else None}
        named["outcomes"] = "true" if outcomes else None
        params = [(name, value) for name, value in named.items() if value is not None]
        params += [("kind", kind) for kind in kinds]
        headers = [("Content-Type", f"application/{media}")]
        path = f"{self._base}/backtest"
        with self._session.stream(path, params, headers, method="POST", content=text) as chunks:
            lines = _lines(chunks)
            try:
                yield lines
            except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                raise NodeFault("client.protocol", "the node broke the trial off; its log says why") from error
            finally:
                lines.close()

    def _decision_path(self, span_id: str) -> str:
        return f"{self._base}/spans/{quote(span_id, safe='')}/decision"

    def _rule_set_path(self, name: str) -> str:
        return f"{self._base}/rules/{quote(name, safe='')}"

    def approvals(self, *, state: str | None = None) -> Iterator[Approval]:
        """All that waits or waited for approval, or what is so, the newest first, read page by page."""
        wanted = [("state", state)] if state is not None else []
        before: list[tuple[str, str]] = []
        while True:
            params = [*wanted, *before]
            page = parse_answer(self._session.request("GET", f"{self._base}/approvals", params=params))
            for approval in page["approvals"]:
                yield cast("Approval", approval)
            if page["next"] is None:
                return
            before = [("before", page["next"])]

    def approval(self, approval_id: str) -> Approval:
        """What waits or waited under an id. Raises CallerError("approval.unknown")."""
        return cast("Approval", parse_answer(self._session.request("GET", self._approval_path(approval_id))))

    def grant(self, approval_id: str, *, note: str = "") -> Answered:
        """Approve a draft in the name of the node.

        Raises CallerError approval.unknown, approval.decided, approval.altered,
        approval.own or member.not_root.
        """
        return self._answer_approval(approval_id, "grant", note)

    def deny(self, approval_id: str, *, note: str = "") -> Answered:
        """Deny a draft in the name of the node; it waits no more.

        Raises CallerError approval.unknown, approval.decided or member.not_root.
        """
        return self._answer_approval(approval_id, "deny", note)

    def _read(self, path: str, params: Params = ()) -> dict[str, Any]:
        return parse_answer(self._session.request("GET", path, params=params))

    def _send(self, method: str, path: str, content: bytes, headers: Headers, *, dry_run: bool) -> Published:
        params = [("dry_run", "true")] if dry_run else []
        answer = self._session.request(method, path, params=params, content=content, headers=headers, patient=False)
        return cast("Published", parse_answer(answer))

    def _answer_approval(self, approval_id: str, word: str, note: str) -> Answered:
        content, headers = msgspec.json.encode({"note": note}), [("Content-Type", "application/json")]
        path = f"{self._approval_path(approval_id)}/{word}"
        return cast("Answered", parse_answer(self._session.request("POST", path, content=content, headers=headers)))

    def _approval_path(self, approval_id: str) -> str:
        return f"{self._base}/approvals/{quote(approval_id, safe='')}"


def _lines(chunks: Iterator[bytes]) -> Generator[BacktestLine, None, None]:
    """The lines of a stream, each decoded."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield cast("BacktestLine", parse_answer(line))


def _conditions(if_version: str | None, *, if_new: bool = False) -> list[tuple[str, str]]:
    found = [] if if_version is None else [("If-Match", f'"{if_version}"')]
    return [*found, ("If-None-Match", "*")] if if_new else found
