"""Commands by which a node changes its own identity: id rotate, id revoke, id recovery create."""

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lognode.cli.options import DataDir, Json, PathOption, Target, read_file
from lognode.cli.output import flush, print_json, print_rows, print_table, print_text, say
from lognode.core.errors import CallerError, NodeFault

if TYPE_CHECKING:
    from lognode.identity.keys import KeyPair

_WORDS_A_LINE: Final = 6


def id_recovery_create(
    *, output: PathOption = None, former: PathOption = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Make a recovery key as 24 words, and declare it.

    It is declared in every tenant where this node may write. With these words the node can be given a new key, or be
    removed, also when its key was stolen. The node keeps none of them: whoever has them has the node. It must not run
    meanwhile.

    Parameters
    ----------
    output
        A file to write the words into, readable by its owner alone; without it they are shown on the terminal.
    former
        A file with the words of the recovery key that this one replaces.

    Examples
    --------
    $ lognode id recovery create
    $ lognode id recovery create --output /media/stick/recovery-words

    Notes
    -----
    Exit code 5 when the node runs, or another recovery key is in force and --former does not give it.
    """
    from lognode.identity.recovery import ENTROPY_BYTES, recovery_key, recovery_words
    from lognode.node import real_world
    from lognode.node.identity import declare_recovery

    replaced = read_words(former) if former else None
    if output is None and (json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise CallerError("usage.invalid", "words are shown on a terminal alone; name a file with --output")
    folder, world = Target(data_dir=data_dir).directory(), real_world()
    words = recovery_words(world.random_bytes(ENTROPY_BYTES))
    # Kept before they are declared: a key whose words nobody has would stand in the way of any other.
    if output is not None:
        _write_words(output, words)
    else:
        _show_words(words.split())
    done = declare_recovery(folder, world, recovery_key(words).public, replaced)
    if json:
        print_json({"output": str(output), "declared": done.declared})
        return
    print_rows({"Declared in": ", ".join(done.declared) or "no tenant"} | ({"Words": str(output)} if output else {}))
    flush()
    say("Keep the words where no computer is, apart from the node and its backups.")


def id_rotate(*, recovery: PathOption = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Give this node a new key.

    The old key says so in every tenant; level, members below it and all that was recorded stay. The node has another
    LogLine ID then. It must not run meanwhile. Where this is interrupted, run it again: it goes on where it stopped.

    Parameters
    ----------
    recovery
        A file with the 24 words of the recovery key, which then says so: against a thief who has the old key, it wins.

    Examples
    --------
    $ lognode id rotate
    $ lognode id rotate --recovery /media/stick/recovery-words

    Notes
    -----
    The file node.key.former keeps the old key, by which other members know the node until they have heard. Delete it
    once 'lognode sync status' shows all of them in agreement.

    Not for a copy of a node that still runs: the copy takes the membership along, and the others refuse the original.
    A copy that is to go on is made a new node, with a data directory of its own and an invite.

    Exit code 5 when the node runs, or only reads a tenant, where it could not say that it has another key.
    """
    from lognode.node import real_world
    from lognode.node.identity import rotate_key

    pair = read_words(recovery) if recovery else None
    done = rotate_key(Target(data_dir=data_dir).directory(), real_world(), pair)
    if json:
        print_json(
            {"node": done.node, "former": done.former, "tenants": done.tenants, "former_file": str(done.former_file)}
        )
        return
    print_rows(
        {
            "Node": done.node,
            "Was": done.former,
            "Tenants": ", ".join(done.tenants) or "none",
            "Old key": str(done.former_file),
        }
    )
    flush()
    say("Start the node, then make a new backup: older ones hold the old key.")


def id_revoke(*, recovery: PathOption = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove a stolen node by its recovery key, from here.

    Every member that declared this key is removed, whoever it is senior to, and whatever key a thief gave it meanwhile.
    What it wrote and this node holds stays; what comes later has no effect, on no node. This node, a member of the same
    tenants, must not run meanwhile; it tells the others when it does again.

    Parameters
    ----------
    recovery
        A file with the 24 words of the stolen node.

    Examples
    --------
    $ lognode id revoke --recovery /media/stick/recovery-words

    Notes
    -----
    Exit code 4 when no member declared this key, 5 when this node runs.
    """
    from lognode.node import real_world
    from lognode.node.identity import revoke_nodes

    if recovery is None:
        raise CallerError("usage.invalid", "name the file of the words with --recovery")
    done = revoke_nodes(Target(data_dir=data_dir).directory(), real_world(), read_words(recovery))
    if json:
        print_json({"revoked": [{"tenant": tenant, "node": node} for tenant, node in done]})
    else:
        print_table(("tenant", "node"), done)


def read_words(path: Path) -> "KeyPair":
    """The recovery key whose words are in a file. Raises CallerError file.unreadable or recovery.malformed."""
    from lognode.identity.recovery import recovery_key

    content = read_file(path)
    if content is None:
        raise CallerError("file.unreadable", f"{path}: there is none")
    return recovery_key(content.decode("ascii", "replace"))


def _write_words(path: Path, words: str) -> None:
    """Put the words into a new file for its owner alone; durable on return."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(words + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise CallerError("usage.invalid", f"{path} exists; it may hold words that are in force") from None
    except OSError as error:
        raise NodeFault("system.failed", f"{path}: {error.strerror}") from error


def _show_words(words: list[str]) -> None:
    """Show the words, and go on once one of them was typed back. Raises CallerError("usage.invalid")."""
    for start in range(0, len(words), _WORDS_A_LINE):
        numbered = enumerate(words[start : start + _WORDS_A_LINE], start=start + 1)
        print_text("  ".join(f"{number:2} {word:<10}" for number, word in numbered).rstrip())
    flush()
    place = secrets.randbelow(len(words))
    say(f"Write them down. Then type word {place + 1}:")
    if sys.stdin.readline().strip().lower() != words[place]:
        raise CallerError("usage.invalid", "that is another word; nothing was declared")
