"""What an append would come to, found out without writing.

Looks at committed spans and at the drafts of one request, as the writer would in its turn; windows of gate rules count
each batch of it for itself. Knows nothing of load and disk. Invariant: it only reads.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

from lognode.core.draft import Draft, signed_array
from lognode.core.errors import CallerError
from lognode.core.limits import REHEARSED_KEYS_MAX
from lognode.engine.commit import Repeat, choose, mismatch
from lognode.engine.receipt import Receipt
from lognode.engine.service.writer import Writer
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import find_idems

# What would become of a draft: a new span, or none: one is there already, or it would wait, or waits, for approval.
Fate = Literal["new", "duplicate", "held"]


class Rehearsal:
    """The drafts of one request, a batch after the other."""

    def __init__(self, store: Store, writer: Writer, tenant: TenantRef) -> None:
        self._store = store
        self._writer = writer
        self._tenant = tenant
        # The content under each key of this request that is not in the store: it would be by then.
        self._rehearsed: dict[bytes, bytes] = {}
        self._held: set[bytes] = set()  # the keys of those that would wait

    async def append(self, drafts: Sequence[Draft]) -> tuple[list[Fate], CallerError | None]:
        """What would become of each draft, up to the first one that would be refused, and why that.

        Raises CallerError("request.too_large") beyond REHEARSED_KEYS_MAX new keys.
        """
        keys = self._writer.gate.keys(self._tenant, [drafts])
        known = await self._store.read(find_idems, self._tenant.number, keys) if keys else {}
        chosen = choose([drafts], known, self._store.feeds)
        (places,), (error,) = chosen.places, chosen.errors
        found: list[Fate] = []
        fresh: dict[int, int] = {}  # the index of a draft that is chosen -> its place here
        repeated: list[tuple[int, int]] = []
        for place in places:
            if isinstance(place, Repeat):
                repeated.append((len(found), place.first))
                found.append("duplicate")
            elif isinstance(place, int):
                fate = self._fate(chosen.drafts[place])
                if fate is None:
                    error = mismatch()
                    break
                if fate == "new":
                    fresh[place] = len(found)
                found.append(fate)
            else:
                found.append("held" if isinstance(place, Receipt) and place.held else "duplicate")
        if not fresh:
            return found, error
        waits, refused = await self._writer.rehearse(self._tenant, [chosen.drafts[index] for index in fresh])
        waiting = [index for index, is_held in zip(fresh, waits, strict=False) if is_held]
        for index in waiting:
            found[fresh[index]] = "held"
            idem = chosen.drafts[index].idem
            self._held.update(() if idem is None else (idem,))
        for place, first in repeated:
            found[place] = "held" if first in waiting else "duplicate"
        return (found, error) if refused is None else (found[: [*fresh.values()][len(waits)]], refused)

    def _fate(self, draft: Draft) -> Fate | None:
        """What becomes of a draft by what earlier batches had under its key; None where that had other content."""
        if draft.idem is None:
            return "new"
        content = sha256(signed_array(draft)).digest()
        if len(self._rehearsed) == REHEARSED_KEYS_MAX and draft.idem not in self._rehearsed:
            detail = f"a dry run takes at most {REHEARSED_KEYS_MAX} lines with keys; send fewer at once"
            raise CallerError("request.too_large", detail)
        first = self._rehearsed.setdefault(draft.idem, content)
        if first is content:
            return "new"
        if first != content:
            return None
        return "held" if draft.idem in self._held else "duplicate"
