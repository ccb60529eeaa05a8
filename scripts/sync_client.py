"""Makes lognode/client/sync, the client for ordinary threads, from lognode/client/aio, the one for trio.

    scripts/sync-client            write the files
    scripts/sync-client --check    write nothing, but fail and say which are not as they would be written

Words are replaced in the whole text, so docstrings change with the code. Ruff then drops the imports that are left
over, and formats the result. A rule belongs here only for what the two forms cannot say alike.
"""

import re
import sys
from pathlib import Path
from subprocess import PIPE, run
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SOURCE: Final = ROOT / "lognode/client/aio"
TARGET: Final = ROOT / "lognode/client/sync"
HEADER: Final = "# Made from lognode/client/aio/{name} by scripts/sync-client: change that file, then run the script.\n"

RULES: Final = (
    (r"^.*  # not for threads\n", ""),
    # The language.
    (r"\basync (?=(def|for|with)\b)", ""),
    (r"\bawait ", ""),
    (r"\b__a(?=(enter|exit|iter|next)__)", "__"),
    (r"\banext\b", "next"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    # What comes with it: the standard library, trio, httpx.
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\btrio\.current_time\b", "time.monotonic"),
    (r"\btrio(?=\.sleep\b|$)", "time"),
    (r"\ba(?=(close|read|iter_bytes)\b)", ""),
    (r"\bpush_async_callback\b", "callback"),
    (r"\bAsyncByteStream\b", "SyncByteStream"),
    # Names of our own, and what is said of them.
    (r"\b([Aa])n (?=AsyncClient\b)", r"\1 "),
    (r"\bany number of tasks of one trio run\b", "one thread at a time"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bconnect_async\b", "connect"),
    (r"\blognode\.client\.aio\b", "lognode.client.sync"),
    (r"\bEach\((\w+)\)", r"\1"),
)


def made_from(source: Path) -> str:
    """The text of the module for threads."""
    text = source.read_text("utf-8")
    for pattern, by in RULES:
        text = re.sub(pattern, by, text, flags=re.MULTILINE)
    name = f"--stdin-filename={TARGET / source.name}"
    text = _ruff("check", "--quiet", "--fix", "--select=F401,I001", name, stdin=text)
    return HEADER.format(name=source.name) + _ruff("format", name, stdin=text)


def _ruff(*arguments: str, stdin: str) -> str:
    command = (sys.executable, "-m", "ruff", *arguments, "-")
    return run(command, input=stdin, stdout=PIPE, check=True, text=True, cwd=ROOT).stdout


def main() -> int:
    """The exit code."""
    made = {path.name: made_from(path) for path in SOURCE.glob("[!_]*.py")}
    there = {path.name: path.read_text("utf-8") for path in TARGET.glob("[!_]*.py")}
    changed = sorted(name for name in made | there if made.get(name) != there.get(name))
    is_check = "--check" in sys.argv[1:]
    for name in changed:
        print(
            f"{TARGET.relative_to(ROOT)}/{name} {'is not as scripts/sync-client makes it' if is_check else 'changed'}"
        )
        if is_check:
            continue
        if name in made:
            (TARGET / name).write_text(made[name], "utf-8")
        else:
            (TARGET / name).unlink()
    return 1 if is_check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
