"""Both forms of the client, called alike, so that one test holds for both."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, cast

from lognode.client import AsyncClient, connect, connect_async

Connect = Callable[..., AsyncClient]

# What is iterated or entered.
_UNAWAITED: Final = frozenset({"append_lines", "bundle", "spans", "tail"})


class _Awaited:
    """A Client, or what one iterates or enters: every call is made at once, in this thread, when it is awaited."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Self:
        entered = self._inner.__enter__()
        return self if entered is self._inner else type(self)(entered)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for item in self._inner:
            return item
        raise StopAsyncIteration

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, {"aclose": "close"}.get(name, name))
        if not callable(found):
            return found
        if name in _UNAWAITED:
            return lambda *args, **named: _Awaited(found(*args, **named))

        async def call(*args: Any, **named: Any) -> Any:
            return found(*args, **named)

        return call


FORMS: Final[dict[str, Connect]] = {
    "threads": lambda **named: cast("AsyncClient", _Awaited(connect(**named))),
    "trio": connect_async,
}
