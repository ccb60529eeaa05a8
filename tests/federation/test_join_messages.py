"""Messages of joining: one encoding each, bounded, and signed over all that matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import SpanId, TenantId
from lognode.core.limits import ADDRESSES_MAX, JOIN_ANSWER_BYTES_MAX, JOIN_PEERS_MAX, JOIN_REQUEST_BYTES_MAX
from lognode.federation.invites.invitation import LEVELS, Invitation
from lognode.federation.invites.messages import (
    Admitted,
    Answer,
    JoinRequest,
    Peer,
    Refused,
    Waiting,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    sign_request,
)
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.members import (
    check_invite_signature,
    check_member_admit,
    member_admit_data,
    parse_member_admit,
)

TENANT = TenantId(b"t" * 20)
KEYS = NodeKeys.from_seed(bytes(range(32)))
INVITATION = Invitation(TENANT, Level.TRUSTED, 1, 2**40, approve=False, seed=b"i" * 32, servers=())
REQUEST = sign_request(KEYS, INVITATION, b"s" * 32, b"n" * 16, ("192.0.2.1:7481",))
PEERS = st.builds(
    Peer,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=400),
    st.lists(st.just("192.0.2.1:7481"), max_size=ADDRESSES_MAX).map(tuple),
)
ANSWERS = (
    st.builds(
        Admitted,
        st.binary(min_size=24, max_size=24).map(SpanId),
        st.sampled_from(LEVELS),
        st.lists(PEERS, max_size=JOIN_PEERS_MAX).map(tuple),
    )
    | st.builds(Waiting, st.integers(1, 3600))
    | st.builds(Refused, st.sampled_from(["invite.refused", "node.stopping"]))
)


def test_a_request_is_what_its_bytes_say() -> None:
    data = encode_request(REQUEST)
    assert decode_request(data) == REQUEST
    assert encode_request(decode_request(data)) == data


@given(ANSWERS)
def test_an_answer_is_what_its_bytes_say(answer: Answer) -> None:
    data = encode_answer(answer)
    assert decode_answer(data) == answer


def test_the_largest_messages_fit_their_bounds() -> None:
    far = ("a" * 253 + ":65535",) * ADDRESSES_MAX
    assert len(encode_request(REQUEST._replace(addresses=far))) <= JOIN_REQUEST_BYTES_MAX
    peer = Peer(b"k" * 32, REQUEST.statement.certificate, far)
    largest = encode_answer(Admitted(SpanId(bytes(24)), Level.ROOT, (peer,) * JOIN_PEERS_MAX))
    assert len(largest) <= JOIN_ANSWER_BYTES_MAX


@given(st.binary(max_size=300))
def test_noise_is_no_message(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with pytest.raises(PeerError) as caught:
            decode(data)
        assert caught.value.code == "message.malformed"


@given(st.integers(0, len(encode_request(REQUEST)) * 8 - 1))
def test_a_flipped_bit_is_refused_or_breaks_a_signature(bit: int) -> None:
    data = bytearray(encode_request(REQUEST))
    data[bit // 8] ^= 1 << bit % 8
    try:
        read = decode_request(bytes(data))
    except PeerError:
        return
    if read._replace(addresses=REQUEST.addresses) != REQUEST:  # where it answers is signed by nobody
        assert not is_signed(read)


def is_signed(request: JoinRequest) -> bool:
    admit = parse_member_admit(member_admit_data([], request.statement, request.signatures))
    try:
        check_member_admit(request.tenant, admit)
        check_invite_signature(request.tenant, admit, INVITATION.key.public)
    except CallerError:
        return False
    return True


@pytest.mark.parametrize(
    "data",
    [
        encode([1, 2, 3]),
        encode([2, 2, "invite.refused"]),
        encode([1, 1, 0]),
        encode([1, 1, 3601]),
        encode([1, 0, bytes(24), 0, []]),
        encode([1, 0, bytes(23), 2, []]),
        encode([1, 0, bytes(24), 2, [[bytes(32), b"c", ["nowhere"]]]]),
        encode([1, 0, bytes(24), 2, [[bytes(32), b"c", []]] * 17]),
        encode([True, 2, "invite.refused"]),
    ],
)
def test_an_answer_out_of_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_answer(data)


def test_a_code_that_this_node_does_not_know_reads_as_refused() -> None:
    assert decode_answer(encode([1, 2, "invite.of_tomorrow"])) == Refused("invite.refused")
