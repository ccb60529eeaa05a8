"""Which drafts of a commit pass: each is judged once, in order, and nothing behind a refused one of its call."""

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.limits import FIRED_BYTES_MAX, GROUP_BYTES_MAX
from lognode.engine.commit import Chosen, Repeat, choose
from lognode.engine.ruling.gating import Judged, Patience, pass_gate

# Calls of drafts, each by its key and whether rules let it pass; what has one key has one content.
CALLS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=4)
REFUSED = st.frozensets(st.integers(0, 9))


def draft(number: int) -> Draft:
    return Draft(kind=f"kind{number}", idem=bytes([number]) * 16)


@given(CALLS, REFUSED)
def test_a_call_ends_at_its_first_refused_draft_and_each_draft_is_judged_once(
    calls: list[list[int]], refused: frozenset[int]
) -> None:
    judged: list[int] = []

    def judge(found: Draft, before: int) -> Judged:
        number = int(found.kind[4:])
        judged.append(number)
        assert before == len([one for one in judged[:-1] if one not in refused])
        firing = Draft(kind="rule.fired", title=found.kind)
        if number in refused:
            return Judged(None, CallerError("draft.invalid", found.kind), firing)
        return Judged(found, None, firing)

    chosen = pass_gate(choose([[draft(number) for number in call] for call in calls], {}, {}), judge)

    assert len(set(judged)) == len(judged)
    assert [int(found.kind[4:]) for found in chosen.drafts] == [one for one in judged if one not in refused]
    first: dict[int, int] = {}
    for call, places, error in zip(calls, chosen.places, chosen.errors, strict=True):
        passed = next((at for at, number in enumerate(call) if number in refused), len(call))
        assert len(places) == passed
        assert (error.detail if error else None) == (f"kind{call[passed]}" if passed < len(call) else None)
        for number, place in zip(call, places, strict=False):
            if number in first:
                assert place == Repeat(first[number])
            else:
                assert isinstance(place, int)
                assert chosen.drafts[place].kind == f"kind{number}"
                first[number] = place
    for firing in chosen.firings:
        about = None if firing.about is None else chosen.drafts[firing.about].kind
        assert (about is None) == (int(str(firing.draft.title)[4:]) in refused)
        assert about in (None, firing.draft.title)


def test_a_draft_without_a_key_in_a_call_that_was_refused_before_it_is_not_judged() -> None:
    one, other = Draft(kind="bad"), Draft(kind="good")

    def judge(found: Draft, _before: int) -> Judged:
        assert found is one
        return Judged(None, CallerError("draft.invalid"), None)

    assert pass_gate(choose([[one, other]], {}, {}), judge).drafts == []


def test_what_refused_a_call_before_the_gate_still_does() -> None:
    mismatch = CallerError("idempotency.mismatch")
    chosen = pass_gate(Chosen([draft(1)], [[0]], [mismatch]), lambda found, _: Judged(found, None, None))
    assert (chosen.places, chosen.errors) == ([[0]], [mismatch])


def test_a_commit_takes_no_more_drafts_than_it_can_tell_of() -> None:
    """A thousand small drafts, about each of which as much is told as may be; but what is to be whole stays so."""
    calls = [[Draft(kind="a")] * 200, [Draft(kind="b")] * 100, [Draft(kind="c")] * 200]
    telling = Draft(kind="rule.fired", data=bytes(FIRED_BYTES_MAX))
    chosen = choose(calls, {}, {})

    def judge(found: Draft, _before: int) -> Judged:
        return Judged(found, None, telling)

    def told_bytes(found: Chosen) -> int:
        return sum(firing.draft.content_bytes() for firing in found.firings)

    passed = pass_gate(chosen, judge, Patience(lambda: False))
    assert GROUP_BYTES_MAX < told_bytes(passed) <= GROUP_BYTES_MAX + telling.content_bytes()
    assert [len(places) for places in passed.places] == [len(passed.drafts), 0, 0]
    assert passed.errors == [None] * 3
    whole = pass_gate(chosen, judge, Patience(lambda: False, {0, 1}))
    assert [len(places) for places in whole.places] == [200, 0, 0]
