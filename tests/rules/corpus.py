"""A hundred questions about why a rule fired or did not, answered by hand: tests/data/rules/why.yaml."""

from pathlib import Path as File
from typing import Any, Final, NamedTuple

import msgspec
from ruamel.yaml import YAML

from lognode.core.ids import format_logline
from tests.rules.judged import PERSON

CORPUS: Final = File(__file__).parent.parent / "data" / "rules" / "why.yaml"


class Question(NamedTuple):
    """What is asked of a rule about a span with a past, and the answer."""

    rules: str
    rule: str
    span: dict[str, Any]
    past: dict[str, Any]
    outcome: str
    condition: str | None
    values: dict[str, Any]

    def check(self, account: Any) -> None:
        """Compare with an answer in JSON: the outcome, the condition that decided, and what it read."""
        assert account["outcome"] == self.outcome, account
        assert self.rule in account["sentence"]
        grounds = account["grounds"]
        if self.condition is None:
            assert not grounds
            return
        assert grounds[0]["condition"] == self.condition
        read = {path: value for ground in grounds for path, value in ground.get("values", {}).items()}
        assert {path: read[path] for path in self.values} == self.values
        self.check_words(account["sentence"])

    def check_words(self, said: str) -> None:
        """Find condition and values in a sentence."""
        assert self.condition is None or self.condition == "always" or self.condition in said
        for path, value in self.values.items():
            shown = "missing" if value is None else msgspec.json.encode(value).decode()
            assert f"{path} is {shown}" in said


def _read() -> list[Question]:
    text = CORPUS.read_text("utf-8").replace("ACTOR", format_logline(PERSON))
    sets = YAML(typ="safe", pure=True).load(text)
    return [Question(one["set"], *case) for one in sets for case in one["cases"]]


QUESTIONS: Final = _read()
