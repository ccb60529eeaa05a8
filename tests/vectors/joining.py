"""Invites, the words of a joining, and what joiner and server say to each other."""

from hashlib import sha256
from typing import Any, Final

from lognode.core.access import Level
from lognode.core.codec import decode_any_array, encode
from lognode.core.ids import SpanId
from lognode.federation.invites.invitation import Invitation, Server, format_invitation
from lognode.federation.invites.messages import (
    Admitted,
    Answer,
    Peer,
    Refused,
    Waiting,
    encode_answer,
    encode_request,
    sign_request,
)
from lognode.federation.invites.words import words_of
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import KeyPair
from lognode.timeline.control.founding import tenant_id
from tests.timeline.members.nodes import keys_of

SERVER, JOINER = keys_of("server"), keys_of("joiner")
TENANT: Final = tenant_id(SERVER.public, bytes(16))
EXPIRES_MS: Final = 1_800_000_000_000


def make_invites() -> dict[str, Any]:
    tls = KeyPair(SERVER.tls_seed()).public
    first = Server(SERVER.public, tls, ("192.0.2.1:7483", "[2001:db8::1]:7483"))
    seed = sha256(b"invite").digest()
    invitations = [
        Invitation(TENANT, Level.TRUSTED, 1, EXPIRES_MS, approve=False, seed=seed, servers=(first,)),
        Invitation(
            TENANT, Level.ROOT, 10_000, EXPIRES_MS, approve=True, seed=seed,
            servers=(first, Server(JOINER.public, tls, ())),
        ),
    ]  # fmt: skip
    request = encode_request(sign_request(JOINER, invitations[0], SERVER.public, bytes(16), ("192.0.2.2:7482",)))
    peer = Peer(SERVER.public, tls_certificate(SERVER.tls_seed()), ("a:1",))
    answers: list[Answer] = [
        Admitted(SpanId(bytes(range(24))), Level.TRUSTED, (peer,)),
        Waiting(5),
        Refused("invite.expired"),
    ]
    text = format_invitation(invitations[0])
    return {
        "about": "Invites as text with what they say; the words of a joining; a request of a joiner and the answers to "
        "it. Texts and requests that are refused.",
        "invites": [_describe(invitation) for invitation in invitations],
        "words": {
            "tenant": TENANT.hex(), "joiner": JOINER.public.hex(), "server": SERVER.public.hex(),
            "words": words_of(TENANT, JOINER.public, SERVER.public),
        },
        "request": {
            "invite_key": invitations[0].key.public.hex(), "hex": request.hex(), "tenant": TENANT.hex(),
            "node_key": JOINER.public.hex(), "server_key": SERVER.public.hex(), "level": 2,
            "addresses": ["192.0.2.2:7482"],
        },
        "answers": [{"is": type(answer).__name__.lower(), "hex": encode_answer(answer).hex()} for answer in answers],
        "refused": {
            "texts": [
                {"name": "another prefix", "text": text.replace("invite", "invoice")},
                {"name": "a character changed", "text": text[:-9] + ("0" if text[-9] != "0" else "1") + text[-8:]},
                {"name": "a character less", "text": text[:-1]},
                {"name": "a character more", "text": text + "0"},
                {"name": "the letter u", "text": text[:-9] + "u" + text[-8:]},
                {"name": "only the head", "text": text[:31]},
                {"name": "a later version", "text": text[:16] + "8" + text[17:]},
            ],
            "requests": [{"name": name, "hex": data.hex()} for name, data in _bent(request)],
        },
    }  # fmt: skip


def _describe(invitation: Invitation) -> dict[str, Any]:
    return {
        "text": format_invitation(invitation),
        "tenant": invitation.tenant.hex(),
        "level": int(invitation.level),
        "uses": invitation.uses,
        "expires_ms": invitation.expires_ms,
        "approve": invitation.approve,
        "seed": invitation.seed.hex(),
        "servers": [[one.node_key.hex(), one.tls_key.hex(), list(one.addresses)] for one in invitation.servers],
    }


def _bent(request: bytes) -> list[tuple[str, bytes]]:
    parts: list[Any] = decode_any_array(request)
    found = [("a byte behind", request + b"\x00"), ("another version", encode([2, *parts[1:]]))]
    found.append(("another tenant", encode([1, bytes(20), *parts[2:]])))
    for place, name in enumerate(("invite", "TLS", "witness", "node")):
        signatures = [bytes(64) if at == place else one for at, one in enumerate(parts[3])]
        found.append((f"not signed by the {name} key", encode([*parts[:3], signatures, parts[4]])))
    statement = [*parts[2][:5], 3, parts[2][6]]
    return [*found, ("another level", encode([*parts[:2], statement, *parts[3:]]))]
