"""What the data of all control spans has in common: one array, which begins with `after`."""

from lognode.core.codec import decode_array
from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, SPAN_ID_BYTES
from lognode.core.limits import CUTS_MAX, SIZE_MAX
from lognode.timeline.proof.tree import HASH_BYTES


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


def fault_of_optional(name: str, value: object, size: int) -> str | None:
    """What is wrong with a byte string of `size` bytes that may be null; None where nothing is."""
    return None if value is None else fault_of_bytes(name, value, size)


def fault_of_integer(name: str, value: object, least: int, most: int) -> str | None:
    """What is wrong with an integer from `least` to `most`; None where nothing is."""
    is_right = value.__class__ is int and least <= value <= most
    return None if is_right else f"{name} is no integer from {least} to {most}"


def fault_of_cuts(cuts: object) -> str | None:
    """What is wrong with a list of [feed, size, root]; None where nothing is."""
    if cuts.__class__ is not list or len(cuts) > CUTS_MAX:
        return f"cuts are no list of at most {CUTS_MAX}"
    for cut in cuts:
        if cut.__class__ is not list or len(cut) != 3:
            return "a cut is not feed, size and root"
        feed, size, root = cut
        fault = (
            fault_of_bytes("feed of a cut", feed, FEED_ID_BYTES)
            or fault_of_integer("size of a cut", size, 1, SIZE_MAX)
            or fault_of_bytes("root of a cut", root, HASH_BYTES)
        )
        if fault:
            return fault
    feeds = [cut[0] for cut in cuts]
    return None if sorted(set(feeds)) == feeds else "cuts are not sorted by feed, each once"
