"""The completion script of each shell: its function, with the table of all words put in."""

from pathlib import Path
from typing import Final

from cyclopts import App

from lognode.cli.completion.table import rows_of

SHELLS: Final = ("bash", "zsh", "fish")
_PLACE: Final = "@TABLE@"


def completion_script(app: App, shell: str) -> str:
    """What bash, zsh or fish has to source."""
    function = Path(__file__).with_name(f"lognode.{shell}").read_text("utf-8")
    return function.replace(_PLACE, _quoted("\n".join(map(str, rows_of(app))), shell))


def _quoted(text: str, shell: str) -> str:
    """One word between single quotes."""
    if shell == "fish":
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + text.replace("'", "'\\''") + "'"
