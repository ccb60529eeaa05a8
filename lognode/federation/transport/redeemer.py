"""Calls to a node that is no acquaintance yet, to become a member with it.

Owns what is believed of it: only that it has one of the TLS keys that the invite names. Invariant: not a byte of the
request leaves before it has shown one.
"""

from collections.abc import Collection, Sequence

from lognode.core.errors import CallerError, PeerError
from lognode.core.limits import JOIN_ANSWER_BYTES_MAX
from lognode.federation.transport.calls import calling, http_client, read_whole
from lognode.federation.transport.contact import url_at
from lognode.federation.transport.doors.join_app import JOIN_PATH
from lognode.federation.transport.tls import join_client_context
from lognode.identity.certificate import certificate_key


async def redeem(addresses: Sequence[str], keys: Collection[bytes], body: bytes) -> bytes:
    """The answer of the first of `addresses` at which a node with one of these TLS keys, 32 bytes each, answers.

    Raises the PeerError of the address that said most.
    """
    failed = PeerError("peer.unreachable", "no address is known")

    def look(certificate: bytes) -> bool:
        return _has_key(certificate, keys)

    async with http_client(join_client_context()) as http:
        for address in addresses:
            try:
                async with calling(http, url_at(address, JOIN_PATH), body, look) as answer:
                    return await read_whole(answer, JOIN_ANSWER_BYTES_MAX)
            except PeerError as error:
                failed = error if failed.code == "peer.unreachable" else failed
    raise failed


def _has_key(certificate: bytes, keys: Collection[bytes]) -> bool:
    try:
        return certificate_key(certificate) in keys
    except CallerError:
        return False
