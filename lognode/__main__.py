"""`lognode`, and `python -m lognode`: the command line, from its first import on clean when it is interrupted."""

import sys
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT


def main() -> NoReturn:
    """Run the command that the process was started with, and exit with its code."""
    try:
        # Imports take a moment too, and Ctrl-C in it is no reason for a traceback.
        from lognode.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
