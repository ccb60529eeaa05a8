"""The data of feed.open and tenant.create: what is bound, and that nothing else passes."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import NodeKeys, verify_signature
from lognode.timeline.control.founding import (
    FeedOpen,
    TenantCreate,
    check_feed_open,
    check_tenant_create,
    feed_id,
    feed_open_data,
    parse_feed_open,
    parse_tenant_create,
    tenant_create_data,
    tenant_id,
)

KEYS = NodeKeys.from_seed(bytes(range(32)))
OTHER = NodeKeys.from_seed(bytes(32))
NONCE = b"n" * 16
TENANT = tenant_id(KEYS.public, NONCE)
FEED = feed_id(TENANT, KEYS.public, NONCE)
PARENT = (feed_id(TENANT, KEYS.public, b"p" * 16), 5, sha256(b"root").digest())
AFTER = [SpanId(b"b" * 24), SpanId(b"a" * 24)]
FIRST = feed_open_data(KEYS, TENANT, FEED, NONCE, [], None, "first")
NEXT = feed_open_data(KEYS, TENANT, FEED, NONCE, AFTER, PARENT, "restore")
CREATE = tenant_create_data(KEYS, TENANT, NONCE, AFTER)


def code_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(CallerError) as caught:
        call(*arguments)
    return caught.value.code


def read_feed_open(data: bytes) -> None:
    check_feed_open(TENANT, FEED, parse_feed_open(data))


def read_tenant_create(data: bytes) -> None:
    check_tenant_create(TENANT, parse_tenant_create(data))


def test_ids_follow_from_keys_and_nonces_as_the_design_says() -> None:
    assert sha256(b"lognode tenant v1" + KEYS.public + NONCE).digest()[:20] == TENANT
    assert sha256(b"lognode feed v1" + TENANT + KEYS.public + NONCE).digest()[:16] == FEED


def test_feed_open_is_the_array_that_the_design_shows() -> None:
    opened = parse_feed_open(NEXT)
    bound = [sorted(AFTER), KEYS.public, NONCE, KEYS.log_key(FEED).public, *PARENT, "restore"]
    assert list(opened[:-1]) == bound
    assert encode(list(opened)) == NEXT
    message = b"lognode feed open v1" + TENANT + FEED + encode(bound)
    assert verify_signature(KEYS.public, message, opened.signature)
    check_feed_open(TENANT, FEED, opened)


def test_a_first_feed_has_no_parent() -> None:
    opened = parse_feed_open(FIRST)
    assert opened[4:7] == (None, None, None)
    check_feed_open(TENANT, FEED, opened)


def test_tenant_create_is_the_array_that_the_design_shows() -> None:
    created = parse_tenant_create(CREATE)
    certificate = tls_certificate(KEYS.tls_seed())
    bound = [sorted(AFTER), 1, NONCE, KEYS.public, certificate, KEYS.witness_key(TENANT).public]
    assert list(created[:-1]) == bound
    assert encode(list(created)) == CREATE
    assert verify_signature(KEYS.public, b"lognode founder v1" + TENANT + encode(bound), created.signature)
    check_tenant_create(TENANT, created)


@pytest.mark.parametrize("data", [FIRST, NEXT])
def test_every_changed_bit_of_feed_open_is_refused(data: bytes) -> None:
    for bit in range(len(data) * 8):
        changed = (int.from_bytes(data) ^ 1 << bit).to_bytes(len(data))
        assert code_of(read_feed_open, changed) in {"body.malformed", "binding.invalid"}


def test_every_changed_bit_of_tenant_create_is_refused() -> None:
    for bit in range(len(CREATE) * 8):
        changed = (int.from_bytes(CREATE) ^ 1 << bit).to_bytes(len(CREATE))
        assert code_of(read_tenant_create, changed) in {"body.malformed", "binding.invalid"}


def test_a_binding_holds_for_its_own_feed_and_tenant_alone() -> None:
    opened, created = parse_feed_open(NEXT), parse_tenant_create(CREATE)
    for tenant, feed in ((TENANT, FeedId(bytes(16))), (TenantId(bytes(20)), FEED)):
        assert code_of(check_feed_open, tenant, feed, opened) == "binding.invalid"
    assert code_of(check_tenant_create, TenantId(bytes(20)), created) == "binding.invalid"


def test_another_node_cannot_open_a_feed_under_this_nodes_key() -> None:
    opened = parse_feed_open(FIRST)
    theirs = parse_feed_open(feed_open_data(OTHER, TENANT, FEED, NONCE, [], None, "first"))
    assert code_of(check_feed_open, TENANT, FEED, theirs) == "binding.invalid"
    stolen = theirs._replace(node_key=opened.node_key)
    assert code_of(check_feed_open, TENANT, FEED, stolen) == "binding.invalid"


def resigned(**changes: object) -> TenantCreate:
    """A tenant.create with other values, signed anew by the founder."""
    changed = parse_tenant_create(CREATE)._replace(**changes)  # type: ignore[arg-type]
    signature = KEYS.sign_binding(b"lognode founder v1" + TENANT + encode(list(changed[:-1])))
    return changed._replace(signature=signature)


def test_a_founder_cannot_sign_what_no_node_could_use() -> None:
    check_tenant_create(TENANT, resigned())
    check_tenant_create(TENANT, resigned(certificate=tls_certificate(bytes(32))))
    for bad in (
        resigned(version=2),
        resigned(certificate=b""),
        resigned(certificate=tls_certificate(bytes(32))[:-1] + b"\x00"),
        resigned(node_key=OTHER.public),
    ):
        assert code_of(check_tenant_create, TENANT, bad) == "binding.invalid"


def test_a_feed_is_not_its_own_parent() -> None:
    opened = parse_feed_open(feed_open_data(KEYS, TENANT, FEED, NONCE, [], (FEED, 5, bytes(32)), "restore"))
    assert code_of(check_feed_open, TENANT, FEED, opened) == "binding.invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"after": None},
        {"after": [b"a" * 23]},
        {"after": ["a" * 24]},
        {"after": AFTER},
        {"after": [AFTER[0], AFTER[0]]},
        {"node_key": KEYS.public[1:]},
        {"nonce": None},
        {"nonce": "n" * 16},
        {"log_key": b""},
        {"parent_feed": None},
        {"parent_size": None},
        {"parent_size": 0},
        {"parent_size": -1},
        {"parent_size": 2**63},
        {"parent_size": True},
        {"parent_size": 5.0},
        {"parent_root": bytes(31)},
        {"reason": ""},
        {"reason": None},
        {"reason": b"restore"},
        {"reason": "Restored from a backup"},
        {"reason": "a" * 65},
        {"signature": None},
        {"signature": bytes(63)},
    ],
)
def test_feed_open_with_another_shape_is_refused(changes: dict[str, object]) -> None:
    data = encode(list(parse_feed_open(NEXT)._replace(**changes)))  # type: ignore[arg-type]
    assert code_of(parse_feed_open, data) == "body.malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"after": AFTER},
        {"after": b""},
        {"version": "1"},
        {"version": True},
        {"nonce": bytes(15)},
        {"node_key": None},
        {"certificate": None},
        {"certificate": "text"},
        {"witness_key": bytes(33)},
        {"signature": bytes(65)},
    ],
)
def test_tenant_create_with_another_shape_is_refused(changes: dict[str, object]) -> None:
    data = encode(list(parse_tenant_create(CREATE)._replace(**changes)))  # type: ignore[arg-type]
    assert code_of(parse_tenant_create, data) == "body.malformed"


def test_data_that_is_not_that_array_is_refused() -> None:
    for data in (b"", b"\xff", encode([]), encode({}), NEXT + b"\x00", NEXT[:-1], encode([*FeedOpen._fields, 1])):
        assert code_of(parse_feed_open, data) == "body.malformed"
        assert code_of(parse_tenant_create, data) == "body.malformed"
