"""What a database says of subjects, against the spans and labels that it follows from.

Invariant: it is looked at only where these are sound, so that nobody has to look for damage among its consequences.
"""

from collections.abc import Mapping
from typing import Final

from lognode.timeline.members import membership
from lognode.timeline.store.agreement.rebuilding import SOURCES
from lognode.timeline.store.agreement.subjects import Registers
from lognode.timeline.store.audit.reading import Reading, as_text
from lognode.timeline.store.write import load_feeds
from lognode.timeline.verify.history import Home

_FOUND: Final = {
    "latest": "SELECT tenant, CAST(subject AS BLOB), private, feed, seq, row FROM latest",
    "reverts": "SELECT tenant, target, row FROM reverts",
    "disputes": "SELECT tenant, CAST(subject AS BLOB) FROM disputes",
}
_SAID: Final = {
    "latest": SOURCES["latest"].replace("l.value,", "CAST(l.value AS BLOB),", 1),
    "reverts": SOURCES["reverts"],
}
_CODES: Final = {"latest": "latest.wrong", "reverts": "revert.wrong", "disputes": "dispute.wrong"}
_SEVERAL: Final = (
    "SELECT tenant, CAST(subject AS BLOB) FROM latest WHERE private = 0 GROUP BY tenant, subject HAVING count(*) > 1"
)


def check_subjects(reading: Reading, homes: Mapping[int, Home]) -> None:
    """Report rows of subjects that no span makes, those that are missing, and conflicts that are not listed."""
    for table, said in _SAID.items():
        for row in reading.rows(table, f"{_FOUND[table]} EXCEPT SELECT * FROM ({said})"):
            _report(reading, table, row, "no span makes it so")
        for row in reading.rows(table, f"SELECT * FROM ({said}) EXCEPT {_FOUND[table]}"):
            _report(reading, table, row, "missing")
    for row in reading.rows("disputes", f"{_FOUND['disputes']} EXCEPT {_SEVERAL}"):
        _report(reading, "disputes", row, "no two feeds have spans about it")
    if not reading.report.is_damaged:
        _find_unlisted(reading, homes)


def _find_unlisted(reading: Reading, homes: Mapping[int, Home]) -> None:
    """Report subjects in conflict that are not disputed."""
    feeds = {feed.number: feed for feed in load_feeds(reading.conn)}
    for number, home in homes.items():
        policies = membership(home.ref.tenant_id, home.controls).policies
        registers = Registers(reading.conn, home.ref, feeds, policies)
        quiet = f"SELECT * FROM ({_SEVERAL}) EXCEPT {_FOUND['disputes']}"
        for tenant, raw in reading.rows("disputes", f"SELECT * FROM ({quiet}) WHERE tenant = ?", number):
            if registers.read(as_text(raw)).fold.is_conflict:
                _report(reading, "disputes", (tenant, raw), "it is in conflict, and missing here")


def _report(reading: Reading, table: str, row: tuple[object, ...], detail: str) -> None:
    tenant, key, *rest = row
    if table == "reverts":
        place = f"reverts tenant {tenant} row {rest[0]}"
    elif table == "latest":
        place = f"latest tenant {tenant} subject {as_text(key)} private {rest[0]} feed {rest[1]}"
    else:
        place = f"disputes tenant {tenant} subject {as_text(key)}"
    reading.report.add(_CODES[table], None, place, detail)
