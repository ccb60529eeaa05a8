"""What the data of all control spans has in common: one array, which begins with `after`."""

from lognode.core.codec import decode_array
from lognode.core.errors import CallerError
from lognode.core.ids import SPAN_ID_BYTES


def elements(kind: str, data: bytes, length: int) -> list[object]:
    """The `length` elements of a control span's data. Raises CallerError("body.malformed")."""
    try:
        return decode_array(data, length)
    except CallerError as error:
        raise CallerError("body.malformed", f"{kind}: {error.detail}") from error


def fault_of_after(after: object) -> str | None:
    """What is wrong with the list of newest control spans that an author knew; None where nothing is."""
    if not isinstance(after, list) or any(fault_of_bytes("", item, SPAN_ID_BYTES) for item in after):
        return "after is no list of span ids"
    return None if sorted(set(after)) == after else "after is not sorted without duplicates"


def fault_of_bytes(name: str, value: object, size: int) -> str | None:
    """What is wrong with a byte string of `size` bytes; None where nothing is."""
    return None if isinstance(value, bytes) and len(value) == size else f"{name} is not {size} bytes"
