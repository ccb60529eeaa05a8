"""Records every row of a CSV file, in bounded memory; run again, it adds only the rows that are new.

python docs/examples/import_csv.py payments.csv --kind payment.received
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from lognode.client import Draft, LognodeError, connect


def drafts(path: Path, kind: str) -> Iterator[Draft]:
    """A draft for each row, whose columns are its data."""
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            yield Draft(kind=kind, data=row, idempotency_key=f"{path.name} {number}")


def main(path: Path, kind: str) -> int:
    rows = added = 0
    try:
        with connect() as client:
            for answer in client.append_lines(drafts(path, kind)):
                rows += answer["lines"]
                added += answer["appended"]
    except LognodeError as error:
        print(f"row {error.extra.get('line', '?')}: {error} - {error.spec.hint}", file=sys.stderr)
        return 1
    print(f"{rows} rows, {added} of them new")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record every row of a CSV file once.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--kind", default="row.imported")
    arguments = parser.parse_args()
    sys.exit(main(arguments.file, arguments.kind))
