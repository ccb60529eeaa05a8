"""What an audit says: findings, their codes, and the report that gathers them.

Invariant: a finding names its place so that a person can look there: table, row and column.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from lognode.core.ids import TenantId

FINDINGS_MAX: Final = 1000  # of one code; beyond, a list tells a person nothing more

Severity = Literal["damage", "note"]

# Code -> severity and meaning. A note leaves the history whole: the author signed it as it stands.
CODES: Final[dict[str, tuple[Severity, str]]] = {
    "backup.wrong": ("damage", "A file of a backup is not what its manifest says, or would not do what a backup must."),
    "database.damaged": ("damage", "SQLite's own check failed, or a read did."),
    "schema.wrong": ("damage", "A table, index or trigger, or the version, is not what lognode made."),
    "tenant.wrong": ("damage", "A tenant's row is not what its tenant.create proves."),
    "alias.wrong": ("damage", "An alias is not what its seal covers."),
    "feed.wrong": ("damage", "A feed's row is not what its feed.open proves."),
    "continuity.wrong": ("damage", "The mark of the last start is not as it was written."),
    "alert.wrong": ("damage", "What the owner was told of own feeds is not as it was written."),
    "seal.wrong": ("damage", "A task, a schedule or a pause is not as it was written."),
    "ending.wrong": ("damage", "An ending is not of a feed that this node wrote, or its reason is none."),
    "dictionary.wrong": ("damage", "A kind or actor is not what headers say, or no header says it."),
    "span.wrong": ("damage", "A stub, a header, or a column that repeats it, is not what was signed."),
    "span.missing": ("damage", "Spans that were counted or signed are not there."),
    "body.wrong": ("damage", "A body is not what its header hashes, or has no span."),
    "body.missing": ("damage", "A span has no body."),
    "body.malformed": ("note", "A body is what its author signed, but no strict decoder reads it."),
    "signature.wrong": ("damage", "An actor's signature does not match its span."),
    "signature.forged": ("note", "Another node signed a span with a signature that is not its actor's."),
    "inert.wrong": (
        "damage",
        "An entry that is no span is not what was signed, or not void or withheld for its reason.",
    ),
    "foretold.wrong": ("damage", "A control span ahead of its range is not proven, or its range is here."),
    "bound.wrong": ("damage", "How much of a feed counts does not follow from the control spans."),
    "evidence.wrong": ("damage", "What is kept as proof of a fork proves something else, or nothing."),
    "branch.wrong": ("damage", "Another history of a feed that is kept does not lead to what was signed."),
    "cut.wrong": ("damage", "A cut, or its absence, does not follow from the control spans."),
    "void.wrong": ("damage", "A span is called void, or is not, otherwise than the control spans say."),
    "merge.wrong": ("damage", "A row of what feeds know of others that no merge or feed.open says, or one missing."),
    "cosignature.wrong": ("damage", "A cosignature that is not the newest of its witness, or not of its checkpoint."),
    "label.wrong": ("damage", "A label that no body says, or one that is missing."),
    "idem.wrong": ("damage", "An idempotency key that no body says, or one that is missing."),
    "latest.wrong": ("damage", "The newest span of a feed about a subject is not what the spans say."),
    "revert.wrong": ("damage", "A span is called taken back, or is not, otherwise than the spans say."),
    "dispute.wrong": ("damage", "A subject may not be in conflict and is listed, or is in conflict and is not."),
    "publication.wrong": ("damage", "A span is said to publish a rule set, or not, otherwise than the spans say."),
    "tile.wrong": ("damage", "A tile is missing, superfluous, or not what the spans hash to."),
    "checkpoint.wrong": ("damage", "A checkpoint is missing, not signed, or of another tree."),
    "report.cut": ("note", "There are more findings than are listed."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, such as place "spans row 1042 header"."""

    code: str
    tenant: TenantId | None
    place: str
    detail: str

    @property
    def severity(self) -> Severity:
        """Whether the history is damaged, or only worth a note."""
        return CODES[self.code][0]


class Report:
    """Findings in the order in which they were made: one for each code and place, FINDINGS_MAX for each code."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}
        self._counts: Counter[str] = Counter()

    def add(self, code: str, tenant: TenantId | None, place: str, detail: str) -> None:
        """Note a finding."""
        assert code in CODES
        if (code, place) in self._found:
            return
        self._counts[code] += 1
        if self._counts[code] <= FINDINGS_MAX:
            self._found[code, place] = Finding(code, tenant, place, detail)

    @property
    def is_damaged(self) -> bool:
        """Whether any of them is more than a note."""
        return any(finding.severity == "damage" for finding in self._found.values())

    def findings(self) -> list[Finding]:
        """All of them, and how many more there are of a code that has too many."""
        cut = [
            Finding("report.cut", None, code, f"{count - FINDINGS_MAX} more")
            for code, count in self._counts.items()
            if count > FINDINGS_MAX
        ]
        return [*self._found.values(), *cut]
