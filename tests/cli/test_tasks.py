"""What the commands about tasks and schedules do with a running node."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from lognode.client import Client, Draft
from lognode.client.place import Address
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon


@pytest.fixture(scope="module")
def lognode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lognode]:
    daemon = Daemon(tmp_path_factory.mktemp("cli") / "node")
    daemon.start()
    yield Lognode(daemon.data_dir.parent, daemon.data_dir)
    daemon.stop()


@pytest.fixture(scope="module")
def client(lognode: Lognode) -> Iterator[Client]:
    with Client(Address(data_dir=lognode.home / "node")) as client:
        yield client


def test_a_task_is_listed_shown_and_called_off(lognode: Lognode, client: Client) -> None:
    assert lognode.text("task", "list") == "No task."
    task = client.emit_later(Draft(kind="later", title="hello"), after_s=3600, name="greeting")
    listed = lognode.json("task", "list", "--state", "waiting")["tasks"]
    assert [(each["id"], each["name"]) for each in listed] == [(task["id"], "greeting")]
    assert "greeting" in lognode.text("task", "list")
    shown = lognode.text("task", "show", task["id"][:20])
    assert "waiting" in shown
    assert '"title":"hello"' in shown.replace(" ", "")
    assert lognode.json("task", "show", task["id"])["emit"]["kind"] == "later"
    assert "cancelled" in lognode.text("task", "cancel", task["id"])
    again = lognode.run("task", "cancel", task["id"])
    assert (again.returncode, b"task.ended" in again.stderr) == (5, True)
    assert lognode.run("task", "show", "0" * 26).returncode == 1


def test_a_dead_task_is_queued_again(lognode: Lognode, client: Client) -> None:
    client.pause_tasks()
    late = client.emit_later(Draft(kind="later"), after_s=0.01, until="2100-01-01T00:00:00Z")
    assert lognode.run("task", "retry", late["id"]).returncode == 5
    assert "paused since" in lognode.text("task", "pause", "--drain")
    assert lognode.json("task", "resume")["paused_at"] is None
    journal = client.notify_later({"to": "journal", "text": "a thing"})
    while client.task(journal["id"])["state"] != "done":
        pass
    assert "done" in lognode.text("task", "list", "--what", "journal")


def test_a_schedule_is_listed_paused_resumed_and_deleted(lognode: Lognode, client: Client) -> None:
    assert lognode.text("schedule", "list") == "No schedule."
    client.schedule("night ly", Draft(kind="later"), cron="0 3 * * *")
    client.schedule("tick", {"to": "journal", "text": "tick"}, every_s=3600, missed="skip", priority=9)
    assert [each["name"] for each in lognode.json("schedule", "list")["schedules"]] == ["night ly", "tick"]
    assert "every 3600 s" in lognode.text("schedule", "list")
    assert lognode.text("schedule", "pause", "night ly") == "The schedule night ly is paused."
    assert "next due" in lognode.text("schedule", "resume", "night ly")
    assert lognode.text("schedule", "delete", "tick") == "Deleted the schedule tick."
    assert b"schedule.unknown" in lognode.run("schedule", "pause", "tick").stderr
    assert client.delete_schedule("night ly")["runs"] == 0
    assert client.schedules() == []


def test_a_task_is_made_for_a_span_or_for_somebody_to_be_told(lognode: Lognode, client: Client) -> None:
    made = ("task", "create", "--kind", "later", "--title", "hello", "--data", '{"n": 1}', "--tag", "a", "--tag", "b")
    id_ = lognode.text(*made, "--after", "2h", "--name", "greeting", "--priority", "3", "--idempotency-key", "k")
    task = client.task(id_)
    wanted = {"kind": "later", "title": "hello", "data": {"n": 1}, "tags": ["a", "b"]}
    assert wanted.items() <= task["emit"].items()
    assert (task["state"], task["name"], task["priority"]) == ("waiting", "greeting", 3)
    assert lognode.text(*made, "--after", "2h", "--idempotency-key", "k") == id_
    other = lognode.run("task", "create", "--kind", "other", "--idempotency-key", "k")
    assert (other.returncode, b"idempotency.mismatch" in other.stderr) == (5, True)
    at = (datetime.now(UTC) + timedelta(days=30)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = lognode.json("task", "create", "--notify", "journal", "--text", "hi", "--at", at)
    assert (told["notify"], told["due_at"]) == ({"to": "journal", "text": "hi", "data": None}, at)
    for wrong in (
        ("--title", "x"),
        ("--kind", "a", "--notify", "journal"),
        ("--kind", "a", "--text", "x"),
        ("--notify", "journal", "--title", "x"),
        ("--kind", "a", "--priority", "10"),
        ("--kind", "a", "--after", "soon"),
        ("--kind", "a", "--after", "1h", "--at", at),
    ):
        assert lognode.run("task", "create", *wrong).returncode in {1, 2}, wrong


def test_a_schedule_is_made(lognode: Lognode, client: Client) -> None:
    assert "next due" in lognode.text("schedule", "create", "nightly", "--cron", "0 3 * * *", "--kind", "report.due")
    told = ("--every", "1h", "--missed", "all", "--notify", "journal", "--text", "tick")
    assert lognode.json("schedule", "create", "tick", *told)["every_s"] == 3600
    found = {each["name"]: (each["cron"], each["every_s"], each["missed"]) for each in client.schedules()}
    assert found == {"nightly": ("0 3 * * *", None, "once"), "tick": (None, 3600, "all")}
    again = lognode.run("schedule", "create", "tick", *told)
    assert (again.returncode, b"schedule.exists" in again.stderr) == (5, True)
    assert lognode.run("schedule", "create", "none", "--kind", "a").returncode != 0
    for name in found:
        lognode.text("schedule", "delete", name)
