"""What is said of a control span that would be void: a sentence and a way out for every reason."""

from lognode.core.errors.federation.refusals import REFUSALS, refusal_of
from lognode.core.errors.federation.voids import VOID_REASONS


def test_every_reason_has_a_sentence_and_a_way_out() -> None:
    assert REFUSALS.keys() <= VOID_REASONS.keys()
    for reason in VOID_REASONS:
        why, hint = refusal_of(reason)
        assert why != reason
        assert not why.endswith(".")
        assert hint.endswith(".")


def test_a_reason_that_nobody_gave_words_is_shown_as_it_is() -> None:
    assert refusal_of("ballot.stolen").why == "ballot.stolen"
