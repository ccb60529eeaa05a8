"""`lognode`, and `python -m lognode`: the command line, from its first import on clean when it is interrupted."""

import signal
import sys
from contextlib import suppress
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT


def main() -> NoReturn:
    """Run the command that the process was started with, and exit with its code, or of SIGINT after a Ctrl-C."""
    try:
        # Imports take a moment too, and Ctrl-C in it is no reason for a traceback.
        from lognode.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        _die_of_ctrl_c()
    sys.exit(code)


def _die_of_ctrl_c() -> None:
    """End as one that Ctrl-C kills: shells go on with a script or a loop after any exit code, 130 too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError):
        sys.stdout.flush()
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
