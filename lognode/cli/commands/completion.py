"""The command that makes shells complete commands, options and their values."""

import os
import sys
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lognode.cli.options import Flag
from lognode.cli.output import say


class _Home(NamedTuple):
    """Where a shell looks for the completions of a user, and what else it needs."""

    variable: str  # names the directory that `below` counts from; without it that is `usual` in the home
    usual: str
    below: str
    needs: str


_HOMES: Final = {
    "bash": _Home(
        "XDG_DATA_HOME",
        ".local/share",
        "bash-completion/completions/lognode",
        "New shells complete where the package bash-completion is; elsewhere source this file in ~/.bashrc.",
    ),
    "zsh": _Home(
        "ZDOTDIR",
        "",
        ".zfunc/_lognode",
        "It works in new shells with this in .zshrc, before compinit: fpath+=(${ZDOTDIR:-~}/.zfunc)",
    ),
    "fish": _Home("XDG_CONFIG_HOME", ".config", "fish/completions/lognode.fish", "It works in new shells."),
}


def completion(shell: Literal["bash", "zsh", "fish"], /, *, install: Flag = False) -> None:
    """Print a script that makes a shell complete this command.

    It completes commands, options, their values and files. Completing reads the script alone and starts nothing. Make
    it again after an upgrade.

    Parameters
    ----------
    shell
        The shell that the script is for.
    install
        Write it to where the shell looks for it, instead, and say what else is needed.

    Examples
    --------
    $ lognode completion fish --install
    For this shell alone
    $ source <(lognode completion bash)
    """
    from lognode.cli.completion.script import completion_script
    from lognode.cli.main import build_app

    script = completion_script(build_app(), shell)
    if not install:
        sys.stdout.write(script)
        return
    home = _HOMES[shell]
    file = Path(os.environ.get(home.variable) or Path.home() / home.usual) / home.below
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script, "utf-8")
    say(f"Wrote {file}. {home.needs}")
