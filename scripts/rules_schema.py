"""Writes docs/rules.schema.json from the grammar; with --check, says whether it is as the grammar has it."""

import json
import sys
from pathlib import Path

from lognode.rules.grammar.schema import rules_schema

FILE = Path(__file__).parent.parent / "docs/rules.schema.json"


def main() -> int:
    text = json.dumps(rules_schema(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        if FILE.read_text("utf-8") == text:
            return 0
        print("docs/rules.schema.json is not as the grammar has it; run scripts/rules-schema", file=sys.stderr)
        return 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
