"""The text of an invite: one for each invitation, and nothing else is taken for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import ALPHABET, TenantId, b32decode, b32encode
from lognode.core.limits import ADDRESSES_MAX, INVITE_CHARS_MAX, INVITE_SERVERS_MAX, INVITE_USES_MAX
from lognode.federation.invites.invitation import (
    LEVELS,
    PREFIX,
    Invitation,
    Server,
    format_invitation,
    is_address,
    parse_invitation,
)

ADDRESSES = st.sampled_from(["192.0.2.7:7482", "[2001:db8::1]:7482", "[fe80::1%eth0]:1", "node.example.org:65535"])
KEYS = st.binary(min_size=32, max_size=32)
SERVERS = st.builds(Server, KEYS, KEYS, st.lists(ADDRESSES, max_size=ADDRESSES_MAX).map(tuple))
INVITATIONS = st.builds(
    Invitation,
    tenant=st.binary(min_size=20, max_size=20).map(TenantId),
    level=st.sampled_from(LEVELS),
    uses=st.integers(1, INVITE_USES_MAX),
    expires_ms=st.integers(1, 2**63 - 1),
    approve=st.booleans(),
    seed=KEYS,
    servers=st.lists(SERVERS, min_size=1, max_size=INVITE_SERVERS_MAX).map(tuple),
)
SAMPLE = Invitation(
    TenantId(bytes(20)),
    Level.TRUSTED,
    1,
    1_800_000_000_000,
    approve=False,
    seed=bytes(range(32)),
    servers=(Server(b"n" * 32, b"t" * 32, ("192.0.2.7:7482",)),),
)


@given(INVITATIONS)
def test_the_text_gives_back_the_invitation_in_lower_and_in_upper_case(invitation: Invitation) -> None:
    text = format_invitation(invitation)
    assert text.startswith(PREFIX)
    assert parse_invitation(text) == parse_invitation(text.upper()) == invitation


def test_the_longest_invite_fits_its_bound() -> None:
    server = Server(b"n" * 32, b"t" * 32, ("a" * 253 + ":65535",) * ADDRESSES_MAX)
    longest = SAMPLE._replace(servers=(server,) * INVITE_SERVERS_MAX, uses=INVITE_USES_MAX, expires_ms=2**63 - 1)
    text = format_invitation(longest)
    assert len(text) <= INVITE_CHARS_MAX / 2
    assert parse_invitation(text) == longest


def test_lines_that_a_program_wrapped_are_put_together() -> None:
    text = format_invitation(SAMPLE)
    assert parse_invitation(f"  {text[:50]}\r\n {text[50:]}\n") == SAMPLE


@given(st.data())
def test_every_changed_character_is_noticed(data: st.DataObject) -> None:
    text = format_invitation(SAMPLE)
    at = data.draw(st.integers(len(PREFIX), len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "ilou!").filter(lambda char: char != text[at]))
    with pytest.raises(CallerError) as caught:
        parse_invitation(text[:at] + other + text[at + 1 :])
    assert caught.value.code in {"invite.altered", "invite.incomplete", "invite.newer"}


@pytest.mark.parametrize("cut", range(1, 200))
def test_a_text_with_its_end_cut_off_is_not_complete(cut: int) -> None:
    text = format_invitation(SAMPLE)
    with pytest.raises(CallerError) as caught:
        parse_invitation(text[: max(len(PREFIX), len(text) - cut)])
    assert caught.value.code == "invite.incomplete"


def test_a_text_with_more_behind_it_is_altered() -> None:
    with pytest.raises(CallerError) as caught:
        parse_invitation(format_invitation(SAMPLE) + "0")
    assert caught.value.code == "invite.altered"


def test_an_invite_of_a_newer_version_says_so() -> None:
    code = format_invitation(SAMPLE).removeprefix(PREFIX)
    newer = b32encode(b"\x02" + b32decode(code[:16], 10)[1:]) + code[16:]
    with pytest.raises(CallerError) as caught:
        parse_invitation(PREFIX + newer)
    assert caught.value.code == "invite.newer"


@pytest.mark.parametrize("text", ["", "hello", "lognode-", "invite-" + "0" * 100, "0" * (INVITE_CHARS_MAX + 1)])
def test_what_is_no_invite_is_called_so(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_invitation(text)
    assert caught.value.code == "invite.malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"level": Level.BLOCKED},
        {"uses": 0},
        {"uses": INVITE_USES_MAX + 1},
        {"expires_ms": -1},
        {"seed": b"short"},
        {"tenant": b""},
        {"servers": ()},
        {"servers": SAMPLE.servers * 5},
        {"servers": (Server(b"", b"t" * 32, ()),)},
        {"servers": (Server(b"n" * 32, b"t" * 32, ("no port",)),)},
    ],
)
def test_an_invitation_out_of_bounds_is_refused_though_its_checksum_fits(change: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as caught:
        parse_invitation(format_invitation(SAMPLE._replace(**change)))
    assert caught.value.code == "invite.malformed"


def test_no_error_and_no_form_for_logs_shows_the_secret() -> None:
    text = format_invitation(SAMPLE)
    seed = encode(SAMPLE.seed).hex()
    for wrong in (text[:-1], text + "0", text[:-1] + "u", "x" + text, text[:60] + "!" + text[61:]):
        with pytest.raises(CallerError) as caught:
            parse_invitation(wrong)
        assert text[80:120] not in str(caught.value.problem())
    assert seed not in repr(SAMPLE)
    assert repr(SAMPLE.seed) not in f"{SAMPLE} {SAMPLE!r}"


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:0", "host:65536", "host:1 ", "ho st:1", "[::1:5", "host:1/x", "u@h:1", "::1:5"]
)
def test_what_is_no_host_and_port_is_no_address(text: str) -> None:
    assert not is_address(text)
