"""What an append would come to, found out without writing.

Looks at committed spans and at the drafts of one request, as the writer would in its turn; windows of gate rules count
each batch of it for itself. Knows nothing of load and disk. Invariant: it only reads.
"""

from collections.abc import Sequence
from hashlib import sha256

from lognode.core.draft import Draft, signed_array
from lognode.core.errors import CallerError
from lognode.core.limits import REHEARSED_KEYS_MAX
from lognode.engine.commit import choose, mismatch
from lognode.engine.service.writer import Writer
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import find_idems


class Rehearsal:
    """The drafts of one request, a batch after the other."""

    def __init__(self, store: Store, writer: Writer, tenant: TenantRef) -> None:
        self._store = store
        self._writer = writer
        self._tenant = tenant
        # The content under each key of this request that is not in the store: it would be by then.
        self._rehearsed: dict[bytes, bytes] = {}

    async def append(self, drafts: Sequence[Draft]) -> tuple[list[bool], CallerError | None]:
        """For each draft whether it would be a duplicate, up to the first one that would be refused, and why that.

        Raises CallerError("request.too_large") beyond REHEARSED_KEYS_MAX new keys.
        """
        idems = [draft.idem for draft in drafts if draft.idem is not None]
        known = await self._store.read(find_idems, self._tenant.number, idems) if idems else {}
        chosen = choose([drafts], known, self._store.feeds)
        (places,), (error,) = chosen.places, chosen.errors
        found: list[bool] = []
        fresh: list[tuple[int, Draft]] = []
        for place in places:
            if not isinstance(place, int):
                found.append(True)
                continue
            is_duplicate = self._is_repeated(chosen.drafts[place])
            if is_duplicate is None:
                return found, mismatch()
            found.append(is_duplicate)
            if not is_duplicate:
                fresh.append((len(found) - 1, chosen.drafts[place]))
        count, refused = (
            await self._writer.rehearse(self._tenant, [draft for _, draft in fresh]) if fresh else (0, None)
        )
        return (found, error) if refused is None else (found[: fresh[count][0]], refused)

    def _is_repeated(self, draft: Draft) -> bool | None:
        """Whether an earlier batch had a draft with this key; None where that had other content."""
        if draft.idem is None:
            return False
        content = sha256(signed_array(draft)).digest()
        if len(self._rehearsed) == REHEARSED_KEYS_MAX and draft.idem not in self._rehearsed:
            detail = f"a dry run takes at most {REHEARSED_KEYS_MAX} lines with keys; send fewer at once"
            raise CallerError("request.too_large", detail)
        first = self._rehearsed.setdefault(draft.idem, content)
        if first is content:
            return False
        return True if first == content else None
