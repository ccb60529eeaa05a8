"""Reference pages say what the code says: every row of a table in them, and every name that code refers to."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from lognode.core import limits
from lognode.core.errors import ERRORS
from lognode.engine.service.meters import Meters, ProcessMeters
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import KeyPair
from lognode.timeline.store.opening.migrate import apply_migrations, migrations
from lognode.timeline.verify.finding import CODES
from tests.vectors.make_vectors import FILES

ROOT: Final = Path(__file__).parent.parent
PROTOCOL: Final = (ROOT / "docs/protocol.md").read_text("utf-8")
ERROR_PAGE: Final = (ROOT / "docs/errors.md").read_text("utf-8")
OPERATING: Final = (ROOT / "docs/operating.md").read_text("utf-8")
SCHEMA: Final = (ROOT / "docs/schema.md").read_text("utf-8")
OF_FTS5: Final = {"block", "id", "k", "pgno", "segid", "term", "text", "v"}  # columns that SQLite made
DECISIONS: Final = sorted((ROOT / "docs/decisions").glob("*.md"))


def rows_of(text: str, columns: int) -> Iterator[list[str]]:
    """The rows of tables of so many columns whose first cell is one name in code."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == columns and re.fullmatch(r"`[\w.]+`", cells[0]):
            yield [cells[0].strip("`"), *cells[1:]]


def anchors_of(text: str) -> set[str]:
    """What a link may name in a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_error_stands_in_its_table_as_in_the_code() -> None:
    shown = {code: cells for code, *cells in rows_of(ERROR_PAGE, 6)}
    assert list(shown) == list(ERRORS)
    for code, spec in ERRORS.items():
        status, blame, again, meaning, hint = shown[code]
        assert (status, blame) == (str(spec.status), spec.kind), code
        assert again == ("yes" if spec.retryable else "no"), code
        assert hint == spec.hint, code
        assert meaning


def test_every_finding_stands_in_its_table_as_in_the_code() -> None:
    assert {code: tuple(cells) for code, *cells in rows_of(ERROR_PAGE, 3) if code in CODES} == CODES


def metrics_of(registry: CollectorRegistry) -> dict[str, list[str]]:
    """Type and help of every metric, by its name as Prometheus reads it."""
    endings = {"counter": "_total", "info": "_info"}
    return {
        family.name + endings.get(family.type, ""): [family.type.replace("info", "gauge"), family.documentation]
        for family in registry.collect()
    }


def test_every_metric_stands_in_its_table_as_in_the_code() -> None:
    registry, of_process = CollectorRegistry(), CollectorRegistry()
    Meters(registry)
    ProcessMeters(registry=of_process)
    shown = {name: [kind, meaning] for name, kind, _, meaning in rows_of(OPERATING, 4) if name.startswith("lognode_")}
    named = set(re.findall(r"lognode_[a-z_]+[a-z]", OPERATING)) | set(re.findall(r"process_[a-z_]+[a-z]", OPERATING))

    assert list(shown) == list(metrics_of(registry))
    assert shown == metrics_of(registry)
    # Also those that alerts are made of.
    assert {name.removesuffix("_bucket") for name in named} == shown.keys() | metrics_of(of_process).keys()


def test_every_part_of_the_schema_is_described() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        apply_migrations(conn)
        names = {name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")}
        columns = {row[1] for name in names for row in conn.execute(f"PRAGMA table_info({name})")}
    assert not [name for name in names if not re.search(rf"`{name}`|^### .*\b{name}\b", SCHEMA, re.MULTILINE)]
    assert not [name for name in columns - OF_FTS5 if not re.search(rf"`([a-z]+\.)?{name}`", SCHEMA)]
    assert f"which is {len(migrations())} now" in SCHEMA


def test_limits_are_those_of_the_code() -> None:
    shown = {name: int(cells[0]) for name, *cells in rows_of(PROTOCOL, 3) if hasattr(limits, name)}
    assert shown == {name: getattr(limits, name) for name in shown}
    assert len(shown) == 37


def test_the_certificate_is_the_one_of_the_protocol() -> None:
    block = re.search(r"```text\n(3082013e.*?)```", PROTOCOL, re.DOTALL)
    assert block is not None
    key = KeyPair(bytes(32))
    made = tls_certificate(bytes(32))
    name = made[made.index(b"\x0c\x34") + 2 :][:52]
    parts = {"<name>": name, "<key>": key.public, "<signature>": made[-64:]}
    written = re.sub(r"<\w+>", lambda match: parts[match[0]].hex(), block[1])
    assert bytes.fromhex(written) == made


def test_code_refers_to_sections_that_are_there() -> None:
    anchors = anchors_of(PROTOCOL)
    for path in (ROOT / "lognode").rglob("*.py"):
        for heading in re.findall(r"docs/protocol\.md, ([A-Z][a-z]+(?: [a-z]+)*)\.", path.read_text("utf-8")):
            assert heading.lower().replace(" ", "-") in anchors, f"{path}: {heading}"


def test_links_between_the_pages_lead_somewhere() -> None:
    for path in (ROOT / "docs/protocol.md", ROOT / "docs/errors.md", ROOT / "docs/schema.md", *DECISIONS):
        text = path.read_text("utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            page, _, anchor = target.partition("#")
            linked = path.parent / page if page else path
            assert linked.exists(), f"{path}: {target}"
            assert not anchor or anchor in anchors_of(linked.read_text("utf-8")), f"{path}: {target}"


def test_every_file_of_vectors_is_described() -> None:
    assert not [name for name in FILES if f"`{name}`" not in PROTOCOL]


def test_decisions_are_numbered_and_say_why() -> None:
    assert [path.name[:5] for path in DECISIONS] == [f"{number:04d}-" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        assert {"why", "rejected", "evidence"} <= anchors_of(path.read_text("utf-8")), path
