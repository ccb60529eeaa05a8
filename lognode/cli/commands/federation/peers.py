"""The command that says where the other nodes of a tenant are: peers."""

from typing import TYPE_CHECKING, Final

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text
from lognode.cli.view.nodes import KEY_CELLS, short_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lognode.client.answers.peers import Address, Candidate, Peer, Peers, Reason

CANDIDATES_SHOWN: Final = 10
_UNTIL: Final = {"peer": ", until there is another member or an open invite", "join": ", until an invite is open"}


def peers(*, target: Target = HERE) -> None:
    """Show where the other members are, and how this node reaches them.

    Below them: where this node listens, what it hears on the network, and why it may find nobody there, with what to do
    instead.

    Examples
    --------
    $ lognode peers
    $ lognode peers --json | jq '.peers[] | {node, link, addresses}'
    """
    with target.client() as client:
        answer = client.peers()
    if target.json:
        print_json(answer)
        return
    print_rows(_own_side(answer))
    _print_peers(answer["peers"])
    _print_candidates(answer["candidates"])
    for finding in answer["discovery"]["findings"]:
        _print_reason("Network", finding)
    for listener in answer["listeners"]:
        if listener["error"] is not None:
            _print_reason(f"The {listener['name']} listener", listener["error"])
    for peer in answer["peers"]:
        if peer["error"] is not None:
            _print_reason(short_key(peer["node"]), peer["error"])


def _own_side(answer: "Peers") -> dict[str, str]:
    rows = {"Peers": str(len(answer["peers"])) if answer["peers"] else "none; 'lognode invite create' lets nodes in"}
    for listener in answer["listeners"]:
        told = f", others are told {', '.join(listener['addresses'])}" if listener["addresses"] else ""
        name = "Listening" if listener["name"] == "peer" else "Joining"
        error = listener["error"]
        why = f": {error['detail'] or error['title']} [{error['code']}]" if error else _UNTIL[listener["name"]]
        rows[name] = f"on {listener['bound']}{told}" if listener["bound"] else f"no{why}"
    discovery = answer["discovery"]
    doing = ["announcing"] * discovery["announcing"] + ["browsing"] * discovery["browsing"]
    rows["Discovery"] = " and ".join(doing) or ("idle" if discovery["on"] else "off")
    if answer["static"]:
        rows["Static"] = ", ".join(answer["static"])
    return rows


def _print_peers(found: "Sequence[Peer]") -> None:
    rows = []
    for peer in found:
        places = [(row["address"], ", ".join(row["sources"]), _outcome(row)) for row in peer["addresses"]]
        known = {address for address, *_ in places}
        places += [(address, "mdns", "not tried") for address in peer["announced"] if address not in known]
        for number, place in enumerate(places or [("no address is known", "", "")]):
            who = (short_key(peer["node"]), peer["level"], peer["link"] or "-") if number == 0 else ("", "", "")
            rows.append((*who, *place))
    print_table(("peer", "level", "link", "address", "told by", "last try"), rows, apart=True)


def _outcome(row: "Address") -> str:
    reached, failed = row["reached_at"], row["failed_at"]
    if failed is not None and (reached is None or failed >= reached):
        return f"failed at {failed} [{row['error']}]"
    return f"answered at {reached}" if reached is not None else "not tried"


def _print_candidates(found: "Sequence[Candidate]") -> None:
    rows = [
        (row["key_prefix"][:KEY_CELLS], ", ".join(row["addresses"]), "yes" if row["join_addresses"] else "no")
        for row in found[:CANDIDATES_SHOWN]
    ]
    print_table(("heard of", "at", "lets nodes join"), rows, apart=True)
    if len(found) > CANDIDATES_SHOWN:
        print_text(f"and {len(found) - CANDIDATES_SHOWN} more; --json tells them all")


def _print_reason(what: str, reason: "Reason") -> None:
    said = ": ".join(part for part in (reason["title"], reason["detail"]) if part)
    print_text(f"\n{what}: {said} [{reason['code']}]\nhint: {reason['hint']}")
