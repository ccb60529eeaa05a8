"""The keys of a dry run: what was sent under each of them, across all its requests.

A node that writes nothing remembers the keys of one request alone. Invariant: of lines with keys of their own, a dry
run says what an import would, however they are cut into requests.
"""

from hashlib import sha256

from lognode.core.draft import parse_json_draft, signed_array
from lognode.core.errors import CallerError


class DryKeys:
    """Knows the keys and the contents that it was shown; some 130 bytes each."""

    def __init__(self) -> None:
        self._keys: set[int] = set()
        self._contents: set[int] = set()

    def is_new(self, line: bytes) -> bool:
        """Whether a draft is none that came before under its key; True for what has no key or is no draft.

        Raises CallerError("idempotency.mismatch") where another one came under it, as the node would.
        """
        try:
            draft, key = parse_json_draft(line)
        except CallerError:
            return True  # the node says what is wrong with it
        if key is None:
            return True
        named = sha256(key.encode()).digest()
        count = len(self._keys)
        self._keys.add(_mark(named))
        is_new = len(self._keys) > count
        content = _mark(sha256(named + signed_array(draft)).digest())
        if is_new:
            self._contents.add(content)
        elif content not in self._contents:
            raise CallerError("idempotency.mismatch", "this key stands for a span with other content")
        return is_new


def _mark(digest: bytes) -> int:
    return int.from_bytes(digest[:7], "big")
