"""Which rows the spans of one commit make besides: the newest of each feed about a subject, reverts, publications.

Pure. It looks at rows that are made already, so that other spans cost nothing. Invariant: it adds to `latest`,
`reverts` and `publications` what `rebuild_subjects` and `rebuild_publications` of the store would find.
"""

from collections.abc import Mapping
from itertools import compress, count
from typing import Any

from lognode.core.errors import CallerError
from lognode.core.span import EXECUTED, PRIVATE, decode_body
from lognode.timeline.agreement.rules.publications import PUBLISHING, publication_row
from lognode.timeline.agreement.subjects import REVERT, may_be_value
from lognode.timeline.record import SUBJECT

_SPAN, _LABEL = 11, 5  # columns of their rows
_KIND, _STATUS, _CAUSE = 6, 8, 9


def fold_rows(tables: dict[str, list[Any]], kinds: Mapping[str, int]) -> list[tuple[int, str]]:
    """Tenant and subject of all that shared spans among these rows are about; rows of other tables are added.

    `tables` holds spans of one tenant in rows that follow one another, and their labels.
    """
    spans, labels = tables.get("spans", []), tables.get("labels", [])
    publishing = {number: name for name in PUBLISHING if (number := kinds.get(name)) is not None}
    if not publishing.keys().isdisjoint(spans[_KIND::_SPAN]):
        tables["publications"] = _publication_rows(spans, tables["bodies"], publishing)
    revert = kinds.get(REVERT)
    if revert is not None and revert in spans[_KIND::_SPAN]:
        tables["reverts"] = _revert_rows(spans, revert)
    if SUBJECT not in labels[1::_LABEL]:
        return []
    tenant, first = spans[1], spans[0]
    others = {number for name, number in kinds.items() if not may_be_value(name)}
    newest: dict[tuple[str, int, int], tuple[int, int]] = {}
    touched: dict[str, None] = {}
    is_subject = [field == SUBJECT for field in labels[1::_LABEL]]
    for at in compress(count(0, _LABEL), is_subject):
        subject, row = labels[at + 2], labels[at + 4]
        start = (row - first) * _SPAN
        feed, seq, _, visibility, kind, _, status = spans[start + 2 : start + _STATUS + 1]
        if status == EXECUTED and kind not in others:
            newest[subject, int(visibility == PRIVATE), feed] = (seq, row)
        elif kind != revert:
            continue
        if visibility != PRIVATE:
            touched[subject] = None
    if newest:
        tables["latest"] = [item for key, place in newest.items() for item in (tenant, *key, *place)]
    return [(tenant, subject) for subject in touched]


def _revert_rows(spans: list[Any], revert: int) -> list[Any]:
    """Rows of reverts that name a target and were not only tried out."""
    found: list[Any] = []
    for at in compress(count(0, _SPAN), [kind == revert for kind in spans[_KIND::_SPAN]]):
        if spans[at + _STATUS] == EXECUTED and spans[at + _CAUSE] is not None:
            found += (spans[at + 1], spans[at + _CAUSE], spans[at])
    return found


def _publication_rows(spans: list[Any], bodies: list[Any], kinds: Mapping[int, str]) -> list[Any]:
    """Rows of spans that publish or disable rule sets; a body stands beside each span."""
    found: list[Any] = []
    for index, at in enumerate(range(0, len(spans), _SPAN)):
        kind = kinds.get(spans[at + _KIND])
        if kind is None:
            continue
        row, tenant, feed, seq, _, visibility = spans[at : at + _KIND]
        try:
            data = decode_body(bodies[2 * index + 1]).data
        except CallerError:
            continue
        if said := publication_row(kind, spans[at + _STATUS], visibility, data):
            name, digest = said
            found += (tenant, name, feed, seq, row, digest)
    return found
