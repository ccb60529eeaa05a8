"""Real daemons on data directories that were restored, put back or copied: nothing is lost, nobody does anything."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest

from lognode.node.continuity import observe
from lognode.timeline.agreement.continuity import seal_mark
from lognode.timeline.store.agreement.continuity import write_mark
from tests.federation.test_line import Node, free_port

SETTLED_S: Final = 90  # how long a hanging test holds up the others; no test measures time by it


def append(node: Node, kind: str, count: int) -> list[str]:
    """The ids of spans that the node acknowledged."""
    lines = "\n".join(json.dumps({"kind": kind, "title": str(number)}) for number in range(count))
    with node.daemon.client() as client:
        answer = client.post(
            "/v1/tenants/default/spans?receipts=all", content=lines, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 201, answer.text
        return [json.loads(line)["id"] for line in answer.text.splitlines() if '"id"' in line]


def make_plain(folder: Path) -> None:
    """Have a copy of a data directory pass for its original, as that of a virtual machine does."""
    database = folder / "lognode.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        write_mark(conn, seal_mark(observe(database, folder / "node.key")))


def wait_until(holds: Callable[[], Any], *nodes: Node) -> Any:
    deadline = time.monotonic() + SETTLED_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "\n".join(map(described, nodes))
        time.sleep(0.2)
    return found


def described(node: Node) -> str:
    stats, sync = get(node, "stats"), get(node, "sync")
    errors = [(peer["state"], peer["error"] and peer["error"]["code"], peer["wants"]) for peer in sync["peers"]]
    own = [(found["code"], found["detail"]) for found in sync["findings"]]
    return f"{node.daemon.data_dir.name}: {stats['kinds']} void {stats['void']} {own} {errors}"


def get(node: Node, path: str) -> Any:
    with node.daemon.client() as client:
        answer = client.get(f"/v1/tenants/default/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()


def compare(*nodes: Node) -> None:
    """Have nodes compare with their peers now."""
    for node in nodes:
        with node.daemon.client() as client:
            client.post("/v1/tenants/default/sync")


def wait_equal(*nodes: Node) -> Any:
    """The statistics of the tenant, once all nodes say the same."""

    def equal() -> Any:
        found = [get(node, "stats") for node in nodes]
        return found[0] if len({stats["state"] for stats in found}) == 1 else None

    return wait_until(equal, *nodes)


def findings(node: Node) -> set[str]:
    return {found["code"] for found in get(node, "sync")["findings"]}


def entries(node: Node) -> dict[tuple[bytes, int], bytes]:
    """What a stopped node holds at each place of each feed: the header of the entry."""
    sql = (
        "SELECT f.feed_id, s.seq, s.header FROM spans s JOIN feeds f USING (feed) UNION ALL "
        "SELECT f.feed_id, i.seq, i.header FROM inert i JOIN feeds f USING (feed)"
    )
    with closing(sqlite3.connect(node.daemon.data_dir / "lognode.db")) as conn:
        return {(feed, seq): header for feed, seq, header in conn.execute(sql)}


def restore(one: Node, folder: Path, way: str) -> None:
    """Give a stopped node the data directory of an earlier time again."""
    data_dir = one.daemon.data_dir
    if way == "overwritten":  # every file in its place: inodes stay
        for path in data_dir.iterdir():
            if not (folder / path.name).exists():
                path.unlink()
        shutil.copytree(folder, data_dir, dirs_exist_ok=True)
        return
    if way == "database":  # the one file, in its place
        shutil.copyfile(folder / "lognode.db", data_dir / "lognode.db")
        return
    shutil.rmtree(data_dir)
    if way == "backup":
        one.lognode.text("backup", "restore", str(folder), "--data-dir", str(data_dir))
    else:
        shutil.copytree(folder, data_dir)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes of one tenant that hold the same; each may dial the other."""
    one, two = Node(tmp_path, "one", free_port()), Node(tmp_path, "two", free_port())
    with ExitStack() as stack:
        for node in (one, two):
            stack.callback(node.daemon.stop)
            node.start()
        append(one, "before.all", 10)
        two.join(one.invite())
        wait_equal(one, two)
        yield one, two


@pytest.mark.parametrize("way", ["backup", "copy", "overwritten", "database"])
def test_a_node_restored_from_an_earlier_time_forks_nothing_and_has_all_back(
    pair: tuple[Node, Node], tmp_path: Path, way: str
) -> None:
    one, two = pair
    folder = tmp_path / "earlier"
    for round_ in range(2 if way == "backup" else 1):
        if way == "backup":
            one.lognode.text("backup", "create", str(folder))
        else:
            one.daemon.stop()
            shutil.copytree(one.daemon.data_dir, folder)
            one.start()
        ids = append(one, "lost.here", 100)
        wait_equal(one, two)
        two.daemon.stop()
        one.daemon.stop()
        restore(one, folder, way)
        shutil.rmtree(folder)
        one.start()
        ids += append(one, "while.apart", 50)
        two.start()
        tenant = wait_equal(one, two)
        assert tenant["kinds"]["lost.here"] == 100 * (round_ + 1)
        assert tenant["kinds"]["while.apart"] == 50 * (round_ + 1)
        assert "feed.fork" not in tenant["kinds"]
        assert tenant["void"] == 0
        for node in pair:
            with node.daemon.client() as client:
                assert all(client.get(f"/v1/tenants/default/spans/{id_}").status_code == 200 for id_ in ids[::25])
    wait_equal(one, two)
    one.daemon.stop()
    two.daemon.stop()
    mine, theirs = entries(one), entries(two)
    assert len(mine) >= 160
    assert all(theirs[place] == header for place, header in mine.items())  # none has two


@pytest.fixture
def clone(pair: tuple[Node, Node], tmp_path: Path) -> Iterator[Node]:
    """A copy of the first node, made while that was off, which has no way to know that it is one."""
    one, _ = pair
    one.daemon.stop()
    shutil.copytree(one.daemon.data_dir, tmp_path / "clone")
    make_plain(tmp_path / "clone")
    copy = Node(tmp_path, "clone", free_port())
    yield copy
    copy.daemon.stop()


@pytest.mark.parametrize("attempt", [1, 2])
def test_two_live_copies_are_noticed_where_both_meet_a_peer(pair: tuple[Node, Node], clone: Node, attempt: int) -> None:
    one, two = pair
    one.start()
    wait_equal(one, two)
    clone.start()
    wait_until(lambda: get(clone, "stats")["state"] == get(two, "stats")["state"], clone, two)
    # Each of them speaks again.
    for number in range(3):
        append((one, clone)[number % 2], f"turn.{attempt}", 5)
        wait_equal(one, two, clone)
        compare(one, clone)
    peers = get(two, "sync")["peers"]
    assert "identity.cloned" in {found["code"] for peer in peers for found in peer["findings"]}
    wait_until(lambda: "identity.cloned" in findings(one) | findings(clone), one, two, clone)
    told = one if "identity.cloned" in findings(one) else clone
    assert "stop one of the two" in told.lognode.text("status").lower()
    assert "identity.cloned" in told.daemon.log
    append(one, "at.once", 50)
    append(clone, "at.once", 50)
    append(two, "at.once", 50)
    tenant = wait_equal(one, two, clone)
    assert tenant["kinds"]["at.once"] == 150
    assert tenant["kinds"][f"turn.{attempt}"] == 15


@pytest.mark.parametrize("attempt", [1, 2])
def test_two_copies_that_wrote_apart_fork_and_nothing_is_lost(
    pair: tuple[Node, Node], clone: Node, attempt: int
) -> None:
    one, two = pair
    two.daemon.stop()
    one.start()
    clone.start()
    mine = append(one, "of.one", 40)
    theirs = append(clone, "of.clone", 30)
    two.start()
    append(two, "of.two", 5)

    def is_healed() -> bool:
        tenants = [get(node, "stats") for node in (one, two, clone)]
        return len({tenant["state"] for tenant in tenants}) == 1 and all(
            (tenant["kinds"].get("of.one"), tenant["kinds"].get("of.clone"), tenant["kinds"].get("of.two"))
            == (40, 30, 5)
            for tenant in tenants
        )

    wait_until(is_healed, one, two, clone)
    for node in (one, two, clone):
        assert get(node, "stats")["kinds"]["feed.fork"] >= 1
        assert "feed.forked" in findings(node)
        for id_ in (*mine[::10], *theirs[::10]):
            shown = get(node, f"spans/{id_}")
            assert shown["restored_from"] == {**shown["restored_from"], "id": id_, "proven": True}, attempt
    assert "feed.restored" in findings(one) & findings(clone)
    assert "Find out what ran twice" in one.lognode.text("status")
    later = append(one, "later", 5) + append(clone, "later", 5) + append(two, "later", 5)
    wait_until(
        lambda: all(get(node, "stats")["kinds"].get("later") == 15 for node in (one, two, clone)), one, two, clone
    )
    assert len(set(later)) == 15
