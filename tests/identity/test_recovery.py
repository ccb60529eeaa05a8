"""Recovery words: they are their key's, or they are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.identity.recovery import ENTROPY_BYTES, WORDS, recovery_key, recovery_words

ENTROPY = bytes(range(32))


def test_the_words_are_those_of_bip_39_and_the_key_follows_from_them() -> None:
    words = recovery_words(ENTROPY)
    assert words.startswith("abandon amount liar amount expire adjust cage candy arch gather drum bullet")
    assert recovery_key(words).public.hex() == "7ccc5d35edf6e9ee840d923565898aa9824a5cd1b3023312fdc94c11d8228bb9"


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_words_stand_for_one_key(entropy: bytes) -> None:
    words = recovery_words(entropy)
    assert len(words.split()) == WORDS
    assert recovery_key(words).public == recovery_key(f"\n {words.upper()}  \t").public


@pytest.mark.parametrize("place", [0, 11, 23])
def test_a_wrong_word_is_refused_and_not_quoted(place: int) -> None:
    words = recovery_words(ENTROPY).split()
    for other in ("zoo", "lognode"):
        wrong = [*words[:place], other, *words[place + 1 :]]
        with pytest.raises(CallerError) as caught:
            recovery_key(" ".join(wrong))
        assert caught.value.code == "recovery.malformed"
        assert not set(wrong) & set(caught.value.detail.split())


@pytest.mark.parametrize("words", ["", "abandon", " ".join(["abandon"] * 23), " ".join(["abandon"] * 25)])
def test_another_number_of_words_is_refused(words: str) -> None:
    with pytest.raises(CallerError, match="24"):
        recovery_key(words)
