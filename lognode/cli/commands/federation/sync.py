"""Commands about holding the same as other nodes: sync, sync status."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, print_table, print_text, progress, say, told_if_stopped
from lognode.cli.view.nodes import short_key

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.federation import Finding, PeerSync, Sync

EXIT_NOT_EQUAL: Final = 75
LOOK_S: Final = 0.2  # between looks at how far it is
SETTLED_S: Final = 3.0  # a peer that dials us is asked, and given so long to dial


def sync(peer: str | None = None, /, *, target: Target = HERE) -> int:
    """Bring this node and other members into agreement now.

    Nodes that reach each other do so by themselves; this does not wait for the next try, and says how it ended.

    Parameters
    ----------
    peer
        Only with this node: its LogLine ID, its key, or the beginning of its key.

    Examples
    --------
    $ lognode sync
    $ lognode sync 8c04h8vp

    Notes
    -----
    Exit code 0 when this node lacks nothing that they hold, 75 when one could not be reached or something is left.
    """
    with target.client() as client, told_if_stopped("Stopped; nodes that reach each other go on by themselves."):
        before = client.start_sync(peer)["peers"]
        answer = _wait(client, before)
    peers = answer["peers"]
    _print(answer, target)
    return 0 if all(row["state"] == "live" and not row["lag_spans"] for row in peers) else EXIT_NOT_EQUAL


def sync_status(peer: str | None = None, /, *, target: Target = HERE) -> None:
    """Show how far the other nodes of the tenant hold the same.

    For each the state of the connection, who dialled (out: this node, in: the other), what this node still lacks, and
    the last error with a way out. Below them all that was refused of what they sent, and all that is void or ahead of
    time in the tenant, by code.

    Parameters
    ----------
    peer
        Only this node: its LogLine ID, its key, or the beginning of its key.

    Examples
    --------
    $ lognode sync status
    $ lognode sync status --json | jq '.peers[] | {node, state, lag_spans}'
    """
    with target.client() as client:
        answer = client.sync_status(peer)
    _print(answer, target)


def _print(answer: "Sync", target: Target) -> None:
    if target.json:
        print_json(answer)
        return
    if answer["peers"]:
        _print_peers(answer["peers"])
    else:
        say("The tenant has no other members.")
    _print_findings(answer["findings"])


def _wait(client: "Client", before: "Sequence[PeerSync]") -> "Sync":
    """How it goes once each peer has been compared, or has failed."""
    rounds = {row["node"]: row["rounds"] for row in before}
    received = sum(row["received_spans"] for row in before)
    begun = time.monotonic()
    with progress("Syncing") as show:
        while True:
            answer = client.sync_status()
            peers = answer["peers"] = [row for row in answer["peers"] if row["node"] in rounds]
            done = sum(row["received_spans"] for row in peers) - received
            show(done, done + sum(row["lag_spans"] for row in peers))
            waited_s = time.monotonic() - begun
            if all(_is_done(row, rounds[row["node"]], waited_s) for row in peers):
                return answer
            time.sleep(LOOK_S)


def _is_done(row: "PeerSync", rounds: int, waited_s: float) -> bool:
    if row["state"] == "syncing":
        return False
    if row["state"] == "live":
        return row["rounds"] > rounds or waited_s > SETTLED_S
    return waited_s > SETTLED_S


def _print_peers(peers: "Sequence[PeerSync]") -> None:
    rows = [
        (
            short_key(row["node"]),
            row["state"],
            row["direction"] or "-",
            row["lag_spans"],
            "-" if row["lag_s"] is None else f"{row['lag_s']:.0f} s",
            row["received_spans"],
            row["sent_spans"],
            row["contact_at"] or "never",
        )
        for row in peers
    ]
    print_table(("peer", "state", "dialled", "lacking", "lag", "received", "sent", "last heard"), rows)
    for row in peers:
        key, error = short_key(row["node"]), row["error"]
        if error is not None:
            said = ": ".join(part for part in (error["title"], error["detail"]) if part)
            print_text(f"\n{key}  {said} [{error['code']}]\nhint: {error['hint']}")
        for found in row["findings"]:
            if error is None or found["code"] != error["code"]:
                print_text(_finding_text(key, found, f"refused {_times(found['count'])}"))


def _print_findings(findings: "Sequence[Finding]") -> None:
    """What is wrong with what is held, by whom."""
    for found in findings:
        print_text(_finding_text(short_key(found["node"] or "-"), found, _times(found["count"])))


def _finding_text(whose: str, found: "Finding", how_often: str) -> str:
    said = ": ".join(part for part in (found["title"], found["detail"]) if part)
    return f"\n{whose}  {said}, {how_often} [{found['code']}]\nhint: {found['hint']}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
