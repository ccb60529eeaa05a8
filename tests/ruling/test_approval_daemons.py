"""Drafts that wait for approval in real daemons: asked for on one, approved on the other; and one that is killed."""

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lognode.core.errors import CallerError
from lognode.timeline.store.audit import audit_file
from tests.federation.daemons import Node, wait_for

PACK: Final = Path(__file__).parents[2] / "config" / "rules" / "spending-limit.yaml"
SPANS: Final = "/v1/tenants/default/spans"
HELD: Final = 40  # drafts that wait
KILLS: Final = 2  # while they are written
SEED: Final = 6606


def payment(amount: int, to: str = "shop") -> dict[str, Any]:
    data = {"account": f"account {amount}", "amount": amount, "currency": "EUR", "to": to}
    return {"kind": "payment.requested", "title": f"{amount}", "data": data}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    with two_nodes(tmp_path) as (_, one, two):
        yield one, two


class two_nodes:  # noqa: N801 - used as a function
    """Two root members, with the pack in force on both; the first may be wrong in one way."""

    def __init__(self, folder: Path, patch: str | None = None) -> None:
        self._folder = folder
        self._patch = patch
        self._stack = ExitStack()

    def __enter__(self) -> tuple[ExitStack, Node, Node]:
        one = Node(self._folder, "one", patch=self._patch)
        self._stack.callback(one.stop)
        two = Node(self._folder, "two")
        self._stack.callback(two.stop)
        two.client.join(one.client.create_invite(level="root")["invite"])
        wait_for(lambda: len(two.members()) == 2)
        one.client.publish_rules(PACK.read_bytes())
        return self._stack, one, two

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def seen(node: Node, approval: str) -> dict[str, Any] | None:
    try:
        return dict(node.client.approval(approval))
    except CallerError:
        return None


def state(node: Node, approval: str) -> str | None:
    found = seen(node, approval)
    return found["state"] if found else None


def post(node: Node, draft: dict[str, Any], key: str) -> httpx.Response:
    with node.daemon.client() as http:
        return http.post(SPANS, json=draft, headers={"Idempotency-Key": key})


def test_a_payment_that_waits_on_one_node_is_approved_on_the_other_and_written(pair: tuple[Node, Node]) -> None:
    one, two = pair
    assert post(one, payment(900), "small").status_code == 201
    answer = post(one, payment(9000), "large")
    assert (answer.status_code, answer.json()["held"]) == (202, True)
    approval = answer.json()["id"]
    wait_for(lambda: state(two, approval) == "waiting")
    assert approval in two.command.text("approval", "list", "--state", "waiting")
    shown = two.command.text("approval", "show", approval)
    assert "9000 EUR from account 9000 to shop" in shown
    assert '"amount": 9000' in shown
    assert "Approved" in two.command.text("approval", "grant", approval, "--note", "seen the invoice")
    wait_for(lambda: state(two, approval) == "written")
    found = one.client.approval(approval)
    for node in (one, two):
        assert node.client.approval(approval) == found
        assert [(each["says"], each["note"], each["counts"]) for each in found["answers"]] == [
            ("approve", "seen the invoice", True)
        ]
        assert found["span"] is not None
        span = node.client.span(found["span"])
        assert span["data"] == payment(9000)["data"]
        assert span["annotations"]["rules"]["approval"]["by"] == [found["answers"][0]["span"]]
        assert "large" in span["annotations"]["rules"]["tags"]
    again = post(one, payment(9000), "large")
    assert (again.status_code, again.json()["id"]) == (200, found["span"])
    late = two.command.run("approval", "deny", approval)
    assert (late.returncode, b"Nothing waits here any more" in late.stderr) == (5, True)


def test_whoever_follows_a_tenant_hears_what_waits_on_another_node_and_what_became_of_it(
    pair: tuple[Node, Node],
) -> None:
    one, two = pair
    with two.daemon.client() as http, http.stream("GET", "/v1/tenants/default/live") as live:
        lines = live.iter_lines()
        next(lines)  # from here on it is heard
        approval = post(one, payment(9000), "large").json()["id"]
        asked = told(lines, "approval.asked")
        assert (asked["id"], asked["node"], asked["role"], asked["of"]) == (approval, one.key, "root", 1)
        two.client.grant(approval, note="go on")
        answered = told(lines, "approval.answered")
        assert (answered["id"], answered["says"], answered["note"]) == (approval, "approve", "go on")
        decided = told(lines, "approval.decided")
    assert decided == {"id": approval, "state": "written", "span": two.client.approval(approval)["span"]}


def told(lines: Iterator[str], event: str) -> dict[str, Any]:
    """What the next event of a name says."""
    next(line for line in lines if line == f"event: {event}")
    return dict(json.loads(next(lines).removeprefix("data: ")))


def test_a_denial_on_the_other_node_ends_it_and_a_stream_goes_on_beside_what_waits(pair: tuple[Node, Node]) -> None:
    one, two = pair
    lines = [payment(1), payment(8000), payment(2), payment(60_000)]
    with pytest.raises(CallerError) as stopped:
        one.client.append_batch([httpx.Request("POST", "http://x", json=line).content for line in lines])
    assert stopped.value.code == "rule.rejected"
    said = {name: stopped.value.extra[name] for name in ("line", "appended", "held")}
    assert said == {"line": 4, "appended": 2, "held": 1}
    (approval,) = [each["id"] for each in one.client.approvals(state="waiting")]
    wait_for(lambda: state(two, approval) == "waiting")
    two.client.deny(approval, note="no invoice")
    wait_for(lambda: state(one, approval) == "denied" and state(two, approval) == "denied")
    assert one.kinds()["payment.requested"] == 2
    assert two.command.json("approval", "show", approval)["answers"][0]["note"] == "no invoice"


def titles_after_kills(folder: Path, held: int, kills: int, patch: str | None = None) -> Counter[str]:
    """How often each payment is there, once all that were approved are written in spite of the kills."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with two_nodes(folder, patch) as (_, one, two):
        waiting = [post(one, payment(2000 + number), f"{number}").json()["id"] for number in range(held)]
        wait_for(lambda: len(list(two.client.approvals(state="waiting"))) == held)
        one.daemon.stop()
        for approval in waiting:
            two.client.grant(approval)
        database = one.daemon.data_dir / "lognode.db"
        with closing(sqlite3.connect(database, isolation_level=None)) as conn:
            for done in sorted(rng.sample(range(1, held - held // 10), kills)):
                when = partial(is_time, conn, done, rng) if patch is None else partial(is_between, conn, done)
                one.daemon.start_and_kill_when(when)  # type: ignore[attr-defined]
            one.daemon.start()
            wait_for(lambda: count_written(conn) == held)
        titles = Counter(str(span["title"]) for span in one.client.spans() if span["kind"] == "payment.requested")
        one.daemon.stop()
        assert audit_file(database) == []
        one.daemon.start()
    return titles


def is_time(conn: sqlite3.Connection, done: int, rng: random.Random) -> bool:
    """Whether so many are written, and a moment more has passed."""
    if count_written(conn) < done:
        return False
    time.sleep(rng.uniform(0, 0.02))
    return True


def is_between(conn: sqlite3.Connection, done: int) -> bool:
    """Whether so many are written, and one more is there of which that is not noted yet."""
    sql = "SELECT count(*) FROM spans s JOIN kinds k ON k.tenant = s.tenant AND k.kind = s.kind WHERE k.name = ?"
    written = count_written(conn)
    return written >= done and conn.execute(sql, ("payment.requested",)).fetchone()[0] > written


def count_written(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM held WHERE state = 'written'").fetchone()[0])


def test_a_killed_daemon_loses_no_approved_draft_and_doubles_none(tmp_path: Path) -> None:
    assert titles_after_kills(tmp_path, HELD, KILLS) == Counter({f"{2000 + number}": 1 for number in range(HELD)})


def test_a_daemon_that_notes_later_what_it_wrote_is_found_out(tmp_path: Path) -> None:
    assert max(titles_after_kills(tmp_path, HELD // 4, 2, "approving").values()) > 1
