"""Commands about the node as such: init, up, status, id show, and what to do next."""

import shlex
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lognode.cli.options import HERE, NO_FLAGS, DataDir, Flag, Flags, Json, Target
from lognode.cli.output import flush, print_json, print_rows, print_table, print_text
from lognode.cli.view.nodes import short_key
from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.ids import LogLineKind, format_logline, logline

if TYPE_CHECKING:
    from lognode.client.answers import Feed, Reload, Stats, Subsystem
    from lognode.client.answers.federation import Finding
    from lognode.node import NodeInfo
    from lognode.settings import Settings

EXIT_NOT_READY: Final = 75
KINDS_SHOWN: Final = 10
ALERTS: Final = frozenset({"identity.cloned", "identity.copied", "feed.restored"})  # of what happened to its own feeds
TROUBLES: Final = frozenset({"member.removed", "member.refused"})  # of a node with the others of a tenant


def init(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Make a node and start nothing.

    It makes identity, token, database and default tenant, each where there is none. Doing it twice changes nothing.

    Examples
    --------
    $ lognode init --data-dir /srv/lognode
    With its key sealed by a passphrase
    $ LOGNODE_KEY_PASSPHRASE_FILE=passphrase lognode init

    Notes
    -----
    Exit codes are those of 'lognode up'.
    """
    from lognode.node import init_node

    then = next_commands(data_dir, is_running=False)
    _print_node(init_node(Target(data_dir=data_dir).settings()), None, then, as_json=json)


def up(*, flags: Flags = NO_FLAGS, data_dir: DataDir = None, json: Json = False) -> None:
    """Run a node, made first if there is none.

    It prints its name and URL once it can be used, and runs until SIGTERM or Ctrl-C; its log goes to standard error.
    SIGHUP has it read its settings again. An option wins over the variable LOGNODE_<NAME>, that over lognode.toml in
    the data directory, that over ~/.config/lognode/lognode.toml. 'lognode config show --origin' says what holds.

    Examples
    --------
    $ lognode up
    A second node beside it, on any free ports
    $ lognode up --data-dir second --listen 127.0.0.1:0 --peer-listen 0.0.0.0:0
    $ LOGNODE_LOG_LEVEL=debug lognode up --search default

    Notes
    -----
    LOGNODE_KEY_PASSPHRASE_FILE names a file with the passphrase of the key; the systemd credential key-passphrase
    serves as well.

    Exit code 0 after SIGTERM or Ctrl-C, 1 when the data directory cannot be written or the database is damaged, 2 for
    a setting that is not understood, 4 when the key needs a passphrase or its file is open to others, 5 when data
    directory or port are in use, or the database is of a newer lognode or another node.
    """
    from lognode.node import run_node

    def load() -> "Settings":
        return Target(data_dir=data_dir).settings(**asdict(flags))

    def announce(info: "NodeInfo", url: str | None) -> None:
        _print_node(info, url, next_commands(data_dir, is_running=True) if url else {}, as_json=json)

    run_node(load, announce)


def _print_node(info: "NodeInfo", url: str | None, then: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        fields = {"node": info.node, "tenant": info.tenant, "data_dir": str(info.data_dir), "is_new": info.is_new}
        print_json(fields | ({"url": url} if url else {}))
    else:
        rows = {"New node" if info.is_new else "Node": info.node, "Data": str(info.data_dir)}
        if url:
            rows["URL"] = f"{url} (documentation at {url}/v1/docs)"
        print_rows(rows | then)
    flush()


def next_commands(data_dir: Path | None, *, is_running: bool) -> dict[str, str]:
    """What to do next, as command lines that work as they stand; `data_dir` as it was given."""
    here = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
    if not is_running:
        return {"Start": f"lognode up{here}"}
    return {
        "Append": f"""lognode append{here} --kind note.made --title Hello --data '{{"n": 1}}'""",
        "Import": f"lognode import{here} records.ndjson",
        "Read": f"lognode log{here}",
        "Follow": f"lognode tail -f{here}",
        "Verify": f"lognode verify{here}",
        "Help": "lognode --help",
    }


def next_steps(*, target: Target = HERE) -> None:
    """Say what to do next.

    Examples
    --------
    $ lognode up
    $ lognode append --kind note.made --title Hello
    $ lognode log --since 1h
    $ lognode tail -f

    Notes
    -----
    LOGNODE_<NAME> in the environment stands for an option: LOGNODE_DATA_DIR, LOGNODE_URL, LOGNODE_TOKEN_FILE,
    LOGNODE_TENANT, and each setting of 'lognode up'.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 node not running, 4 not allowed, 5 conflict, 75 try again later,
    130 interrupted, 141 nobody reads the output.
    """
    address = target.address()
    has_node = address.data_dir is None or (address.data_dir / "node.key").exists()
    url: str | None = None
    if has_node:
        try:
            with target.client() as client:
                client.node()
            url = address.place().url
        except LognodeError as error:
            if error.code != "client.unreachable" or address.data_dir is None:
                raise
    commands = next_commands(target.data_dir, is_running=url is not None)
    state = "running" if url else "stopped" if has_node else "none"
    if target.json:
        data_dir = str(address.data_dir) if address.data_dir else None
        print_json({"state": state, "data_dir": data_dir, "url": url, "next": commands})
        return
    print_text(
        {
            "running": f"A node runs at {url}.",
            "stopped": f"The node on {address.data_dir} is not running.",
            "none": f"There is no node on {address.data_dir} yet; starting makes one.",
        }[state]
    )
    print_rows(commands)


def status(*, target: Target = HERE) -> int:
    """Show the node, whether it can write, and what the tenant holds.

    The state is a hash over all feeds, by which two nodes tell whether they hold the same.

    Examples
    --------
    $ lognode status
    $ lognode status --json | jq .tenant.spans

    Notes
    -----
    Exit code 0 when the node can write, 75 when it cannot now, 3 when none runs.
    """
    with target.client() as client:
        node, stats, findings = client.node(), client.stats(), client.sync_status()["findings"]
        try:
            client.ready()
            unready = None
        except NodeFault as error:
            unready = error
    if target.json:
        print_json({"node": node, "ready": unready is None, "tenant": stats, "findings": findings})
        return 0 if unready is None else EXIT_NOT_READY
    rows = {
        "Node": node["node"],
        "Version": node["version"],
        "Running": f"for {timedelta(seconds=int(node['uptime_s']))}",
        "Ready": "yes" if unready is None else f"no: {unready.detail or unready.spec.title}",
        "Waiting": f"{node['waiting_spans']:,} spans",
        "Tenant": target.tenant_name(),
        "Spans": f"{stats['spans']:,}, from {stats['first_at']} to {stats['last_at']}" if stats["spans"] else "none",
        "State": stats["state"],
    }
    print_rows(
        rows
        | _trouble_rows(node["node"], findings)
        | _alert_rows(node["node"], findings)
        | _effectless_rows(stats)
        | _reload_rows(node["reload"])
    )
    parts = [(part["name"], _subsystem_state(part)) for part in node["subsystems"]]
    print_table(("subsystem", "state"), parts, apart=True)
    _print_feeds(stats["feeds"])
    kinds = sorted(stats["kinds"].items(), key=lambda item: -item[1])
    print_table(("kind", "spans"), kinds[:KINDS_SHOWN], apart=True)
    if len(kinds) > KINDS_SHOWN:
        print_text(f"and {len(kinds) - KINDS_SHOWN:,} kinds more; --json tells them all")
    return 0 if unready is None else EXIT_NOT_READY


def _trouble_rows(own: str, findings: "list[Finding]") -> dict[str, str]:
    """What keeps this node from the other members, and what to do."""
    found = next((found for found in findings if found["code"] in TROUBLES and found["node"] == own), None)
    if found is None:
        return {}
    said = ": ".join(part for part in (found["title"], found["detail"]) if part)
    return {"Membership": f"{said} [{found['code']}]", "Hint": found["hint"]}


def _alert_rows(own: str, findings: "list[Finding]") -> dict[str, str]:
    """What happened to the node's own feeds, and what to do."""
    rows = dict[str, str]()
    for found in findings:
        if found["code"] in ALERTS and found["node"] == own:
            rows[f"Alert {len(rows) // 2 + 1}"] = f"{found['title']}: {found['detail']} [{found['code']}]"
            rows[f"Hint {len(rows) // 2 + 1}"] = found["hint"]
    return rows


def _effectless_rows(stats: "Stats") -> dict[str, str]:
    """What is held and shown nowhere."""
    rows = dict[str, str]()
    if stats["void"]:
        rows["Void"] = f"{_entries(stats['void'])} without effect; 'lognode sync status' says whose, and why"
    if stats["withheld"]:
        rows["Withheld"] = f"{_entries(stats['withheld'])} of which this node may have no more than the hash"
    return rows


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def _print_feeds(feeds: "list[Feed]") -> None:
    """The feeds of all nodes; columns that only other nodes' feeds need are left out where there are none."""
    states = ["open" if feed["open"] else "closed" if feed["own"] else "of another node" for feed in feeds]
    rows = [(feed["feed"], state, feed["size"]) for feed, state in zip(feeds, states, strict=True)]
    if all(feed["own"] and not feed["void"] for feed in feeds):
        print_table(("feed", "state", "entries"), rows, apart=True)
        return
    nodes = [short_key(feed["node"]) for feed in feeds]
    more = [(node, feed["void"], feed["withheld"]) for node, feed in zip(nodes, feeds, strict=True)]
    titles = ("feed", "state", "entries", "node", "void", "withheld")
    print_table(titles, [(*row, *rest) for row, rest in zip(rows, more, strict=True)], apart=True)


def _reload_rows(reload: "Reload") -> dict[str, str]:
    """What the last reload of the settings left undone."""
    rows = dict[str, str]()
    if reload["error"] is not None:
        said = ": ".join(part for part in (reload["place"], reload["detail"]) if part)
        rows["Reload"] = f"failed, nothing changed: {said} [{reload['error']}]"
    if reload["waiting"]:
        rows["Restart"] = f"needed for {', '.join(reload['waiting'])}"
    return rows


def _subsystem_state(subsystem: "Subsystem") -> str:
    line = subsystem["state"]
    if subsystem["retry_s"] is not None:
        line += f", next try in {subsystem['retry_s']:.0f} s"
    if subsystem["error"] is not None:
        line += f", {subsystem['restarts']} restarts, last failure: {subsystem['detail']} [{subsystem['error']}]"
    return line


def id_show(*, vkey: Flag = False, feed: str | None = None, target: Target = HERE) -> None:
    """Print the node's LogLine ID, or the verifier key of a feed.

    The ID is read from the key file where that is at hand, so that the node need not run. By the verifier key others
    check the feed's proofs.

    Parameters
    ----------
    vkey
        The verifier key, as C2SP signed-note has it.
    feed
        Of this feed; by default of the one that the node writes to now.

    Examples
    --------
    $ lognode id show
    $ lognode id show --vkey >order.vkey
    """
    if not vkey and feed is None:
        node = _node_id(target)
        print_json({"node": node}) if target.json else print_text(node)
        return
    with target.client() as client:
        feeds = client.stats()["feeds"]
    chosen = [row for row in feeds if (row["feed"] == feed if feed else row["open"])]
    if not chosen:
        raise CallerError("feed.unknown", feed or "no feed is open; the next write opens one")
    print_json({"feed": chosen[0]["feed"], "vkey": chosen[0]["vkey"]}) if target.json else print_text(chosen[0]["vkey"])


def _node_id(target: Target) -> str:
    """The LogLine ID, from the key file where there is one, so that the node need not run."""
    from lognode.identity.store import read_public

    address = target.address()
    if address.url is None and address.data_dir is not None:
        return format_logline(logline(LogLineKind.NODE, read_public(address.data_dir / "node.key")))
    with target.client() as client:
        return client.node()["node"]
