"""Laws of rechecking: whatever the order in which spans came, all who hold them find the same."""

from collections import Counter
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.ids import b32encode
from lognode.core.span import PRIVATE, Range
from lognode.engine.service.ruling.hindsight.rechecking import Rechecked, Rechecking
from lognode.engine.service.ruling.programs import Programs
from lognode.engine.service.standings import Standings
from lognode.rules.records import FIRED, Fired, FiredRule, fired_data
from lognode.timeline.agreement.rules.annotations import with_rules
from lognode.timeline.agreement.rules.publications import PUBLISH, rule_publish_data
from lognode.timeline.record import id_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import load_feeds
from tests.engine.nodes import all_records
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

RULES = """
rules: guard
do:
  - id: often
    on: draft
    kinds: [login]
    windows: {tries: {over: 1h, by: data.client}}
    if: {greater_than: {windows.tries: LIMIT}}
    then: [{add_tag: often}, {set_metadata: {tries: "{windows.tries}"}}]
  - id: shut
    on: draft
    kinds: [login]
    last: {account: {subject: data.client, kinds: [account]}}
    if: {equals: {last.account.data.state: shut}}
    then: [{add_tag: shut}]
  - id: tell
    on: commit
    kinds: [account]
    if: {equals: {data.state: shut}}
    then: [{emit: {kind: alarm, title: "{subject} is shut"}}]
"""


def a_tenant(seed: int) -> list[Pen]:
    """Three nodes that write and merge; the notes of their gates say what they like, so that some are right."""
    rng, founder = Random(seed), Founder()
    pens = [founder, founder.member(2), founder.member(3)]

    def publish(limit: int) -> None:
        text = RULES.replace("LIMIT", str(limit)).encode()
        founder.write(PUBLISH, rule_publish_data([founder.newest], "guard", "yaml", text))

    publish(2)
    for step in range(90):
        pen, hlc = rng.choice(pens), max(one.next_hlc for one in pens)
        if step == 45:
            publish(1)
        who, what = rng.choice(["ann", "bob"]), rng.random()
        if what < 0.25:
            pen.write("note", hlc=hlc)
            pen.merge(*[one.head for one in pens if one is not pen])
        elif what < 0.5:
            state = rng.choice(["open", "shut"])
            span = pen.write("account", encode({"state": state}), subject=who, hlc=hlc)
            if rng.random() < 0.2:
                rule = FiredRule("guard", "tell", "fired")
                data = fired_data(Fired({"guard": "00" * 16}, "commit", "allow", (rule,)))
                pen.write(FIRED, data, caused_by=span)
        else:
            said = {"tags": ["often"], "fired": [["guard", "often"]]} if rng.random() < 0.3 else {}
            notes = with_rules(b"", said) if said else b""
            visibility = PRIVATE if rng.random() < 0.1 else 1
            pen.write("login", encode({"client": who}), annotations=notes, visibility=visibility, hlc=hlc)
    return pens


def found_by(node: Receiver) -> dict[str, Rechecked]:
    """What a node finds of each span, by its id."""
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    store, standings = cast("Store", SimpleNamespace(feeds=feeds)), Standings()
    standings.publish(node.tenant.number, node.book.members)
    again = Rechecking(store, Programs(store, standings))
    records = [record for record in all_records(node.conn) if record.visibility != PRIVATE]
    spans = [id_of(record, feeds[record.feed].feed_id) for record in records]
    return {b32encode(span): again.recheck(node.conn, node.tenant, span) for span in spans}


PENS = a_tenant(7)
WHOLE = Receiver(PENS[0].tenant)
assert WHOLE.codes(*[pen.range() for pen in PENS]) == [len(pen.entries) for pen in PENS]
FOUND = found_by(WHOLE)


def test_the_spans_of_these_laws_are_of_all_sorts() -> None:
    answers = Counter(found.answer for found in FOUND.values())
    assert min(answers["same"], answers["altered"], answers["withheld"]) > 3, answers
    assert {key for found in FOUND.values() for key in found.altered} == {pen.keys.public for pen in PENS}


@st.composite
def deliveries(draw: st.DrawFn) -> list[Range]:
    """The ranges of all feeds in any parts and any order, as far as each goes on where the one before ended."""
    waiting = []
    for pen in PENS:
        size = len(pen.entries)
        ends = sorted({0, size, *draw(st.lists(st.integers(2, size - 1), max_size=5))})
        waiting.append([pen.range(start, stop) for start, stop in pairwise(ends)])
    order = draw(st.permutations([at for at, parts in enumerate(waiting) for _ in parts]))
    return [waiting[at].pop(0) for at in order]


@settings(max_examples=4, deadline=None)
@given(deliveries())
def test_the_same_is_found_in_whatever_order_spans_came(ranges: list[Range]) -> None:
    node = Receiver(PENS[0].tenant)
    while node.clock() != WHOLE.clock():
        for part in ranges:
            node.take(part)
    assert found_by(node) == FOUND


@settings(max_examples=4, deadline=None)
@given(deliveries(), st.integers(1, 6))
def test_who_holds_less_finds_the_same_or_tells_that_it_lacks_something(ranges: list[Range], count: int) -> None:
    node = Receiver(PENS[0].tenant)
    for part in (PENS[0].range(0, 5), *ranges[:count]):
        node.take(part)
    for span, found in found_by(node).items():
        assert found.answer == "withheld" or found.altered == FOUND[span].altered or is_told_later(found, FOUND[span])


def is_told_later(found: Rechecked, whole: Rechecked) -> bool:
    """Whether what is found of a span misses no more than what was written behind it."""
    return found.answer == "same" and all(
        difference.where == "firing" or difference.where.startswith("firing.")
        for differences in whole.altered.values()
        for difference in differences
    )
