"""What a caller may append: kinds that are not reserved, actors that signed or may be asserted, origins.

Owns the checks between a well-formed draft and the writer. Invariant: no draft reaches the writer that did
not pass here, whichever way it came in.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import trio

from lognode.api.app import Caller
from lognode.core.access import Action
from lognode.core.clock import is_ahead
from lognode.core.draft import Draft, idem_key, signing_message
from lognode.core.errors import CallerError
from lognode.core.limits import DRAFT_QUICK_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, LINE_DIGITS_MAX
from lognode.core.span import is_reserved, span_hlc
from lognode.identity.keys import verify_signature

T = TypeVar("T")


class Admission:
    """Admits drafts of one caller into one tenant."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._tenant_id = caller.tenant.tenant_id
        self._principal = caller.principal.id

    def admit(self, draft: Draft, key: str | None) -> Draft:
        """The draft to append, with its idempotency key if there is one.

        Raises CallerError kind.reserved, clock.ahead (the cause), actor.unsigned, signature.wrong, role.insufficient
        (an origin) or idempotency.invalid.
        """
        if is_reserved(draft.kind):
            raise CallerError("kind.reserved", f"{draft.kind!r}", place="kind")
        if draft.caused_by is not None and is_ahead(span_hlc(draft.caused_by), self._caller.services.world.now_ms()):
            detail = "it is more than ten minutes ahead of now, so nobody can have known it"
            raise CallerError("clock.ahead", detail, place="caused_by")
        if draft.actor is not None:
            self._check_actor(draft)
        if draft.origin is not None and not self._caller.may(Action.ORIGIN_ASSERT):
            raise CallerError("role.insufficient", "only an owner says what a span is a copy of", place="origin")
        if key is None:
            return draft
        return msgspec.structs.replace(draft, idem=idem_key(self._tenant_id, self._principal, key))

    def _check_actor(self, draft: Draft) -> None:
        assert draft.actor is not None
        if draft.actor_signature is None:
            if not self._caller.may(Action.ACTOR_ASSERT):
                raise CallerError("actor.unsigned", place="actor")
        elif not verify_signature(draft.actor[1:], signing_message(self._tenant_id, draft), draft.actor_signature):
            raise CallerError("signature.wrong", "the key in 'actor' did not sign this draft for this tenant")


async def read_draft(parse: Callable[[bytes], T], raw: bytes, parsing: trio.CapacityLimiter) -> T:
    """What `parse` makes of a draft's bytes, in a thread where they are many: nobody else has to wait then.

    Raises as it does. Of threads that compute, the event loop waits for each; so there are few, by `parsing`.
    """
    if len(raw) <= DRAFT_QUICK_BYTES_MAX:
        return parse(raw)
    return await trio.to_thread.run_sync(parse, raw, limiter=parsing)


def check_key(key: str | None, *, for_lines: bool = False) -> str | None:
    """The Idempotency-Key header, if it is a usable one. Raises CallerError("idempotency.invalid")."""
    if key is None:
        return None
    length_max = IDEMPOTENCY_KEY_BYTES_MAX - (1 + LINE_DIGITS_MAX if for_lines else 0)
    if not 0 < len(key) <= length_max or not key.isascii() or not key.isprintable():
        raise CallerError("idempotency.invalid", f"it takes 1 to {length_max} visible characters here")
    return key
