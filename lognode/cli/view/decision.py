"""What rules decided about a span as a person reads it: a sentence for each rule that did something."""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from lognode.cli.output import safe
from lognode.client.answers.rules import Decision

_PHASES: Final = {"draft": "before it was written", "commit": "once it was written"}


def decision_lines(decision: Decision) -> Iterator[Text]:
    """The lines, none where no rules were in force."""
    if not decision["sets"]:
        return
    verdict = decision["verdict"]
    yield Text.assemble(("rules decided", "green"), f": {verdict}" if verdict is not None else "")
    for one in decision["rules"]:
        yield Text.assemble("  ", safe(one["account"]["sentence"]), (f" ({_PHASES[one['on']]})", "dim"))
    if not decision["rules"]:
        yield Text("  no rule fired", "dim")
    for lacking in decision["lacks"]:
        yield Text(f"  {lacking}: its own node may have decided otherwise", "yellow")
