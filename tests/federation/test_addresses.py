"""Addresses: their one text, what is learnt of them in whatever order, and in which order they are tried."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.limits import ADDRESS_DAYS_MAX, NODE_ADDRESSES_MAX
from lognode.federation.addresses.address import Address, Scope, parse_address, parse_told, scope_of
from lognode.federation.addresses.ledger import SOURCES, Entry, Ledger, joined, ranked, told

KEY = bytes(32)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,8}){0,2}", fullmatch=True),
)
ADDRESSES = st.builds(Address, HOSTS, st.integers(1, 65535))
TIMES = st.integers(0, 5)
ENTRIES = st.builds(
    Entry,
    st.just(Address("192.0.2.1", 1)),
    st.frozensets(st.sampled_from(SOURCES), min_size=1),
    TIMES,
    TIMES,
    TIMES,
    st.sampled_from(["", "a.b", "c.d"]),
)


@given(ADDRESSES)
def test_an_address_reads_back_as_it_was_written(address: Address) -> None:
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Node.Example:7481", "node.example:7481"),
        ("[2001:DB8:0:0::7]:1", "[2001:db8::7]:1"),
        ("[fe80::1%eth0]:7481", "[fe80::1%eth0]:7481"),
        ("localhost:65535", "localhost:65535"),
    ],
)
def test_an_address_has_one_form(text: str, form: str) -> None:
    assert str(parse_address(text)) == form


@pytest.mark.parametrize(
    "text",
    ["", "7481", "node", "node:", "node:0", "node:65536", "node:07481", ":7481", "2001:db8::7:7481", "[node]:7481",
     "[192.0.2.1]:7481", "[::1%]:7481", "300.1.1.1:7481", "1.2.3:7481", "a b:7481", "-a:7481", "https://node:7481",
     "node:7481/x", "n" * 300 + ":7481", "nod\N{LATIN SMALL LETTER E WITH ACUTE}:7481"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as refused:
        parse_address(text)
    assert refused.value.code == "address.malformed"


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("::ffff:127.0.0.1", Scope.LOOPBACK),
        ("localhost", Scope.LOOPBACK),
        ("0.0.0.0", Scope.LOOPBACK),
        ("224.0.0.251", Scope.LOOPBACK),
        ("169.254.3.4", Scope.LINK),
        ("fe80::1%eth0", Scope.LINK),
        ("10.0.0.1", Scope.ROUTED),
        ("node.example", Scope.ROUTED),
    ],
)
def test_how_far_an_address_reaches(host: str, scope: Scope) -> None:
    assert scope_of(host) == scope


def test_of_what_others_tell_only_what_can_be_another_machine_is_taken() -> None:
    texts = ["127.0.0.1:1", "nonsense", "10.0.0.1:1", "10.0.0.1:1", "[fe80::1]:1", "10.0.0.2:1", "10.0.0.3:1"]

    assert list(map(str, parse_told(texts, 2, Scope.ROUTED))) == ["10.0.0.1:1", "10.0.0.2:1"]
    assert next(map(str, parse_told(texts, 9, Scope.LOOPBACK))) == "127.0.0.1:1"


@given(ENTRIES, ENTRIES, ENTRIES)
def test_learning_depends_on_no_order_and_no_repetition(one: Entry, two: Entry, three: Entry) -> None:
    results = {joined(joined(a, b), c) for a, b, c in permutations([one, two, three])}

    assert len(results) == 1
    assert joined(one, one) == one
    assert joined(results.pop(), two) == joined(joined(one, two), three)


def test_what_answered_comes_first_and_what_failed_comes_round_again() -> None:
    def entry(number: int, source: str, **times: int) -> Entry:
        return told(Address(f"10.0.0.{number}", 1), source, 10)._replace(**times)  # type: ignore[arg-type]

    entries = [
        entry(1, "member", failed_ms=9),
        entry(2, "mdns"),
        entry(3, "invite"),
        entry(4, "static", failed_ms=8),
        entry(5, "member", reached_ms=7, failed_ms=6),
        entry(6, "mdns", reached_ms=8),
    ]
    order = [int(each.address.host[-1]) for each in ranked(entries)]

    assert order == [6, 5, 3, 2, 4, 1]


@given(st.lists(st.tuples(st.integers(0, 40), TIMES, TIMES)))
def test_a_node_keeps_a_bounded_number_of_its_best_addresses(learnt: list[tuple[int, int, int]]) -> None:
    ledger = Ledger()
    for number, reached_ms, failed_ms in learnt:
        place = told(Address(f"10.0.0.{number}", 1), "member", 1)
        ledger.add(KEY, place._replace(reached_ms=reached_ms, failed_ms=failed_ms))

    kept = ledger.of(KEY)
    assert len(kept) == min(NODE_ADDRESSES_MAX, len({number for number, *_ in learnt}))
    assert kept == ranked(kept)


def test_an_address_that_nobody_tells_any_longer_is_forgotten() -> None:
    ledger = Ledger()
    ledger.add(KEY, told(Address("10.0.0.1", 1), "member", 0))
    ledger.add(KEY, told(Address("10.0.0.2", 1), "member", 0)._replace(reached_ms=1000))

    ledger.expire(ADDRESS_DAYS_MAX * 86_400_000 + 1)
    assert [str(entry.address) for entry in ledger.of(KEY)] == ["10.0.0.2:1"]
    ledger.expire(ADDRESS_DAYS_MAX * 86_400_000 + 1001)
    assert list(ledger) == []


def test_times_that_move_a_little_are_not_worth_a_write() -> None:
    ledger, place = Ledger(), Address("10.0.0.1", 1)

    assert ledger.add(KEY, told(place, "member", 0))
    assert not ledger.add(KEY, told(place, "member", 1000))
    assert ledger.add(KEY, told(place, "mdns", 1000))
    assert ledger.add(KEY, told(place, "mdns", 1000)._replace(reached_ms=2000))
    assert not ledger.add(KEY, told(place, "mdns", 1000)._replace(reached_ms=3000))
    assert ledger.add(KEY, told(place, "mdns", 1000)._replace(failed_ms=4000, error="a.b"))
    assert ledger.add(KEY, told(place, "member", 4_000_000))
