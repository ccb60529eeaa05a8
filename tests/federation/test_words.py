"""The four words that people compare."""

from lognode.core.ids import TenantId
from lognode.federation.invites.words import words_of

TENANT = TenantId(b"t" * 20)


def test_the_four_words_are_of_tenant_joiner_and_server() -> None:
    words = words_of(TENANT, b"j" * 32, b"s" * 32)
    assert len(words.split(" ")) == 4
    assert words == words_of(TENANT, b"j" * 32, b"s" * 32)
    others = {
        words_of(TenantId(b"u" * 20), b"j" * 32, b"s" * 32),
        words_of(TENANT, b"k" * 32, b"s" * 32),
        words_of(TENANT, b"j" * 32, b"r" * 32),
        words_of(TENANT, b"s" * 32, b"j" * 32),
    }
    assert len(others | {words}) == 5
