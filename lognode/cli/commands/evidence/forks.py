"""Commands about feeds with two histories: fork list, fork show, fork export, and check-fork without any node."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from lognode.cli.commands.evidence.checking import read_file
from lognode.cli.options import HERE, File, Flag, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text, say
from lognode.cli.view.nodes import choose, short_key
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.agreement import BranchEntry, Fork

_WHAT_NOW: Final = (
    "Its author signed two histories, so two copies of that node are at work, or its key was stolen. "
    "What lies behind the fork counts for nobody; both histories stay readable."
)
_OWN: Final = (
    "This node wrote it. Find the other copy and stop it: a restored backup, a copied directory, a cloned machine. Or "
    "this one was set back to an earlier time. Each copy records its own spans again, in a new feed; what only others "
    "hold, 'lognode fork show' lists there. If nothing of that happened, somebody has your key: 'lognode id rotate'."
)


def fork_list(*, target: Target = HERE) -> None:
    """List the feeds that have two histories.

    Examples
    --------
    $ lognode fork list
    """
    with target.client() as client:
        forks = client.forks()
    if target.json:
        print_json({"forks": forks})
        return
    if not forks:
        print_text("No feed is known to have two histories.")
        return
    rows = [
        (fork["feed"], "this node" if fork["own"] else short_key(fork["node"]), str(fork["seq"]), _state(fork))
        for fork in forks
    ]
    print_table(("feed", "node", "from entry", "known"), rows)
    say("'lognode fork show FEED' says more.")


def fork_show(feed: str, /, *, branch: str | None = None, target: Target = HERE) -> None:
    """Show a feed with two histories, or one of these.

    Without a branch it says what to do as well.

    Parameters
    ----------
    feed
        Its id, as 'lognode fork list' shows it, or the beginning of that.
    branch
        The name of a history, as this command shows it without the option, or the beginning of that.

    Examples
    --------
    $ lognode fork show $feed
    $ lognode fork show $feed --branch held
    """
    with target.client() as client:
        fork = client.fork(_choose_feed(client, feed))
        if branch is not None:
            branch = choose(branch, [one["tip"] for one in fork["branches"]], "fork.unknown")
        entries: list[BranchEntry] = []
        start: int | None = 0
        while branch is not None and start is not None:
            page = client.fork_entries(fork["feed"], branch, start=start)
            entries += page["entries"]
            start = page["next"]
    if target.json:
        print_json(fork if branch is None else {"feed": fork["feed"], "branch": branch, "entries": entries})
    elif branch is not None:
        rows = [
            (str(one["seq"]), one["at"], one["id"], one.get("kind", "-"), one.get("title") or "") for one in entries
        ]
        print_table(("entry", "at", "span", "kind", "title"), rows)
    else:
        print_rows(
            {
                "Feed": fork["feed"],
                "Node": fork["node"],
                "Forks": f"from entry {fork['seq']} on",
                "Spans": " and ".join(fork["spans"]),
                "Known": _state(fork),
            }
        )
        kept = [(one["tip"], str(one["start"]), str(one["stop"])) for one in fork["branches"]]
        print_table(("history", "from entry", "to before"), kept, apart=True)
        print_text("\n" + (_OWN if fork["own"] else _WHAT_NOW))


def fork_export(
    feed: str, /, *, output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None, target: Target = HERE
) -> None:
    """Write the proof that a feed has two histories.

    Anyone can check it offline.

    Parameters
    ----------
    feed
        Its id, or the beginning of that.
    output
        The file to write; stdout by default.

    Examples
    --------
    $ lognode fork export $feed -o $feed.fork
    """
    with target.client() as client:
        feed = _choose_feed(client, feed)
        proof = client.fork_proof(feed)
    if output is not None:
        output.write_bytes(proof)
        if target.json:
            print_json({"feed": feed, "file": str(output), "bytes": len(proof)})
        else:
            say(f"Wrote {output}; 'lognode check-fork {output}' checks it without any node.")
    elif target.json:
        print_json({"feed": feed, "proof": proof.decode()})
    else:
        sys.stdout.buffer.write(proof)


def check_fork(file: File, /, *, json: Flag = False) -> None:
    """Check without any node that a feed has two histories.

    Prints what the proof shows: tenant, feed, the node whose key signed both, the first entry that differs, and the two
    spans there. It needs no key from elsewhere: the proof names the node that it is about.

    Parameters
    ----------
    file
        The proof; - reads stdin.
    json
        Answer as JSON, errors too.

    Examples
    --------
    $ lognode check-fork $feed.fork

    Notes
    -----
    Exit code 0 when it holds, 1 when it does not.
    """
    from lognode.timeline.proof import fork as proofs

    fork = proofs.check_fork(proofs.parse_fork(read_file(file)))
    fields: dict[str, Any] = {
        "tenant": b32encode(fork.tenant),
        "feed": b32encode(fork.feed),
        "node": format_logline(logline(LogLineKind.NODE, fork.node_key)),
        "seq": fork.seq,
        "spans": [b32encode(span) for span in fork.spans],
        "sizes": list(fork.sizes),
        "roots": [root.hex() for root in fork.roots],
    }
    if json:
        print_json({"ok": True, **fields})
        return
    print_text("The proof holds: the node signed two histories of the feed.")
    print_rows(
        {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in fields.items()}
    )


def _choose_feed(client: "Client", text: str) -> str:
    """The forked feed that an id, or the beginning of one, names. Raises CallerError fork.unknown or usage.invalid."""
    return choose(text, [fork["feed"] for fork in client.forks()], "fork.unknown")


def _state(fork: "Fork") -> str:
    if not fork["told"]:
        return "here alone so far"
    return "to all, found here" if fork["found_here"] else "to all"
