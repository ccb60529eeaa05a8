"""`python -m lognode`: the `lognode` command."""

from lognode.cli.main import main

if __name__ == "__main__":
    main()
