"""Rule sets, as methods of the client.

No change is sent twice: one that was made and whose answer was lost would be made again.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal, cast
from urllib.parse import quote

import msgspec

from lognode.client.aio.session import AsyncSession, Headers, Params
from lognode.client.answers import parse_answer
from lognode.client.answers.rules import Difference, Published, RuleSet, RuleText, Versions


class AsyncRules:
    """The part of a client that is about rules."""

    _session: AsyncSession
    _base: str

    async def rule_sets(self) -> AsyncIterator[RuleSet]:
        """All rule sets by name, also disabled ones, read page by page as they are iterated."""
        after: list[tuple[str, str]] = []
        while True:
            page = parse_answer(await self._session.request("GET", f"{self._base}/rules", params=after))
            for rule_set in page["rules"]:
                yield cast("RuleSet", rule_set)
            if page["next"] is None:
                return
            after = [("after", page["next"])]

    async def rule_set(self, name: str, version: str | None = None) -> RuleText:
        """A version of a rule set, by default the one in force, or the last that was; with its text.

        The beginning of a version is enough. Raises CallerError rule.unknown or rule.unknown_version.
        """
        params = [] if version is None else [("version", version)]
        return cast("RuleText", await self._read(self._rule_set_path(name), params))

    async def rule_versions(self, name: str) -> Versions:
        """The newest publications of a rule set, the newest first. Raises CallerError("rule.unknown")."""
        return cast("Versions", await self._read(f"{self._rule_set_path(name)}/versions"))

    async def compare_rules(self, name: str, earlier: str, later: str | None = None) -> Difference:
        """What one version changes of another, by default the one in force of the one that is named.

        Raises CallerError rule.unknown or rule.unknown_version.
        """
        params = [("from", earlier), *([("to", later)] if later is not None else [])]
        return cast("Difference", await self._read(f"{self._rule_set_path(name)}/diff", params))

    async def publish_rules(
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
        return await self._send("POST", f"{self._base}/rules", text, headers, dry_run=dry_run)

    async def disable_rules(self, name: str, *, if_version: str | None = None, dry_run: bool = False) -> Published:
        """Have a rule set in force no more. Raises CallerError rule.unknown, rule.changed or member.not_root."""
        headers = _conditions(if_version)
        return await self._send("DELETE", self._rule_set_path(name), b"", headers, dry_run=dry_run)

    async def roll_back_rules(
        self, name: str, version: str, *, if_version: str | None = None, dry_run: bool = False
    ) -> Published:
        """Publish an earlier version again; the beginning of it is enough.

        Raises CallerError rule.unknown, rule.unknown_version, rule.changed or member.not_root.
        """
        headers = [("Content-Type", "application/json"), *_conditions(if_version)]
        content = msgspec.json.encode({"version": version})
        return await self._send("POST", f"{self._rule_set_path(name)}/rollback", content, headers, dry_run=dry_run)

    def _rule_set_path(self, name: str) -> str:
        return f"{self._base}/rules/{quote(name, safe='')}"

    async def _read(self, path: str, params: Params = ()) -> dict[str, Any]:
        return parse_answer(await self._session.request("GET", path, params=params))

    async def _send(self, method: str, path: str, content: bytes, headers: Headers, *, dry_run: bool) -> Published:
        params = [("dry_run", "true")] if dry_run else []
        answer = await self._session.request(
            method, path, params=params, content=content, headers=headers, patient=False
        )
        return cast("Published", parse_answer(answer))


def _conditions(if_version: str | None, *, if_new: bool = False) -> list[tuple[str, str]]:
    found = [] if if_version is None else [("If-Match", f'"{if_version}"')]
    return [*found, ("If-None-Match", "*")] if if_new else found
