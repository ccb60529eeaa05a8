"""The data of firings: built, read back, bounded."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.limits import FIRED_BYTES_MAX, FIRED_RULES_MAX
from lognode.rules.conditions.trace import Trace
from lognode.rules.records import Fired, FiredRule, fired_data, is_firing, parse_fired, short_hash

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3),
    max_leaves=6,
)
RULES = st.builds(
    FiredRule,
    st.just("a"),
    st.text(),
    st.sampled_from(["fired", "failed"]),
    st.lists(VALUES, max_size=3).map(tuple),
    st.dictionaries(st.text(), VALUES, max_size=3),
    st.text(),
    st.lists(
        st.builds(Trace, st.text(), st.none() | st.booleans(), st.dictionaries(st.text(), VALUES)), max_size=2
    ).map(tuple),
)
HASH = short_hash(bytes(range(32)))


@given(st.lists(RULES, max_size=4).map(tuple), st.integers(1, 2**63 - 1))
def test_a_firing_is_read_back_as_it_was(rules: tuple[FiredRule, ...], count: int) -> None:
    fired = Fired({"a": HASH}, "draft", "hold", rules, count)
    assert parse_fired(fired_data(fired)) == fired


def test_what_is_too_large_is_left_out_and_that_is_said() -> None:
    long = "x" * FIRED_BYTES_MAX
    rule = FiredRule("a", "r", "fired", ({"add_tag": "t"},), {"data.text": long})
    without_inputs = parse_fired(fired_data(Fired({"a": HASH}, "draft", "allow", (rule,))))
    assert without_inputs.cut
    assert without_inputs.rules == (FiredRule("a", "r", "fired", ({"add_tag": "t"},)),)
    rule = FiredRule("a", "r", "failed", ({"note": long},), {}, long)
    (told,) = parse_fired(fired_data(Fired({"a": HASH}, "commit", "allow", (rule,)))).rules
    assert (told.effects, told.error) == ((), long[:200])
    many = tuple(FiredRule("a", f"r-{number}", "fired") for number in range(FIRED_RULES_MAX + 1))
    shown = parse_fired(fired_data(Fired({"a": HASH}, "draft", "allow", many)))
    assert (shown.rules, shown.cut) == (many[:FIRED_RULES_MAX], True)
    names = tuple(FiredRule("a", f"r-{number}" + "y" * 1000, "fired") for number in range(FIRED_RULES_MAX))
    shown = parse_fired(fired_data(Fired({"a": HASH}, "draft", "allow", names)))
    assert 0 < len(shown.rules) < FIRED_RULES_MAX
    assert shown.cut
    sets = {f"{number:064}": HASH for number in range(FIRED_BYTES_MAX // 64)}
    shown = parse_fired(fired_data(Fired({**sets, "a": HASH}, "draft", "reject", names)))
    assert (shown.sets, shown.rules, shown.verdict) == ({"a": HASH}, (), "reject")


GOOD: dict[str, Any] = msgspec.to_builtins(Fired({"a": HASH}, "draft", "reject", (FiredRule("a", "r", "fired"),)))


@pytest.mark.parametrize(
    "change",
    [
        {"sets": {"a": HASH.upper().replace("0", "F")}},
        {"sets": {"a": HASH[:-1]}},
        {"sets": []},
        {"on": "gate"},
        {"verdict": "maybe"},
        {"rules": {}},
        {"rules": [{"set": "a", "rule": "r", "outcome": "skipped"}]},
        {"rules": [{"set": "a", "rule": "r", "outcome": "fired", "more": 1}]},
        {"count": 0},
        {"count": True},
        {"more": 1},
        {"rules": [GOOD["rules"][0]] * (FIRED_RULES_MAX + 1)},
    ],
)
def test_malformed_firings_are_refused(change: dict[str, Any]) -> None:
    assert parse_fired(encode(GOOD)).verdict == "reject"
    with pytest.raises(CallerError) as caught:
        parse_fired(encode({**GOOD, **change}))
    assert caught.value.code == "body.malformed"


@given(st.binary())
def test_any_bytes_are_refused_with_their_code(data: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        parse_fired(data)
    assert caught.value.code == "body.malformed"


def test_what_is_over_the_limit_is_not_even_read() -> None:
    with pytest.raises(CallerError, match="at most"):
        parse_fired(bytes(FIRED_BYTES_MAX + 1))


def test_a_node_alone_tells_of_firings() -> None:
    assert is_firing("rule.fired", None, 0, 1)
    assert not is_firing("rule.fired", b"somebody", 0, 1)
    assert not is_firing("rule.fired", None, 1, 1)
    assert not is_firing("rule.fired", None, 0, 0)
    assert not is_firing("rule.publish", None, 0, 1)
