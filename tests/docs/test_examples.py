"""The programs in docs/examples, each as a process on a real node, as a reader would run it."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, Popen, run
from typing import Final

import pytest

from lognode.client import Client, Draft, Filter, connect
from tests.daemon import Daemon

ROOT: Final = Path(__file__).parent.parent.parent
EXAMPLES: Final = sorted((ROOT / "docs/examples").glob("*.py"))
PROGRAM_S_MAX: Final = 120  # how long a hanging program holds up the tests


class Programs:
    """Runs examples on one node, in a directory of its own."""

    def __init__(self, folder: Path, node: Daemon) -> None:
        self.folder = folder
        self._started = list[Popen[str]]()
        self._environ = {
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "LOGNODE_DATA_DIR": str(node.data_dir),
        }

    def text(self, name: str, *arguments: str, code: int = 0) -> str:
        """What a program printed by its end."""
        command = self._command(name, arguments)
        done = run(
            command,
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S_MAX,
            check=False,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, *arguments: str) -> Popen[str]:
        """A program that runs on; the caller ends it."""
        command = self._command(name, arguments)
        self._started.append(Popen(command, cwd=self.folder, env=self._environ, stdout=PIPE, text=True))
        return self._started[-1]

    def kill_all(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            with process:
                process.kill()

    def _command(self, name: str, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-W", "error", str(ROOT / "docs/examples" / name), *arguments]


@pytest.fixture
def programs(tmp_path: Path, daemon: Daemon) -> Iterator[Programs]:
    programs = Programs(tmp_path, daemon)
    yield programs
    programs.kill_all()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with connect(data_dir=daemon.data_dir) as client:
        yield client


def titles(client: Client, kind: str) -> list[str | None]:
    return [span.get("title") for span in client.spans(Filter(kinds=(kind,), order="arrival"))]


def wait_for(client: Client, kind: str, count: int) -> list[str | None]:
    """The titles of a kind's spans, once there are so many."""
    deadline = time.monotonic() + PROGRAM_S_MAX
    while len(found := titles(client, kind)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def first_lines(process: Popen[str], count: int) -> list[str]:
    """The last word of each of the first lines that a program prints."""
    assert process.stdout is not None
    return [process.stdout.readline().split()[-1] for _ in range(count)]


def end(process: Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PROGRAM_S_MAX)
    assert process.returncode == 0


def test_an_order_is_recorded_once_and_its_trail_read_back(programs: Programs, client: Client) -> None:
    first, second = programs.text("audit_trail.py", "17"), programs.text("audit_trail.py", "17")

    assert first == second
    assert "3 step(s) before: Order 17 placed" in first
    assert titles(client, "order.*") == [f"Order 17 {step}" for step in ("placed", "paid", "packed", "shipped")]


def test_a_follower_goes_on_where_it_was_also_when_node_and_follower_were_killed(
    programs: Programs, client: Client, daemon: Daemon
) -> None:
    cursor = programs.folder / "follow.cursor"
    follower = programs.start("follow.py", "follow.*")
    while not cursor.exists():
        time.sleep(0.02)
    client.append(Draft(kind="follow.seen", title="0"))
    assert first_lines(follower, 1) == ["0"]
    daemon.kill()
    daemon.start()
    client.append(Draft(kind="follow.seen", title="1"))
    assert first_lines(follower, 1) == ["1"]
    end(follower)
    client.append(Draft(kind="follow.seen", title="2"))
    client.append(Draft(kind="other.seen", title="3"))
    client.append(Draft(kind="follow.seen", title="4"))

    follower = programs.start("follow.py", "follow.*")
    assert first_lines(follower, 2) == ["2", "4"]
    end(follower)


def test_a_log_is_shipped_line_by_line_once_through_kills_and_rotation(programs: Programs, client: Client) -> None:
    log = programs.folder / "app.log"
    log.write_text("1\n2\nhalf")
    assert programs.text("ship_log.py", "app.log", "--once") == ""
    assert titles(client, "log.line") == ["1", "2"]

    shipper = programs.start("ship_log.py", "app.log")
    with log.open("a") as file:
        file.write(" a line\n")
    wait_for(client, "log.line", 3)
    shipper.kill()
    shipper.communicate()
    with log.open("a") as file:
        file.write("4\n")
    shipper = programs.start("ship_log.py", "app.log")
    wait_for(client, "log.line", 4)
    with log.open("a") as file:
        log.rename(programs.folder / "app.log.1")
        file.write("5\n")
    log.write_text("6\n")
    found = wait_for(client, "log.line", 6)
    end(shipper)

    assert found == ["1", "2", "half a line", "4", "5", "6"]
    assert programs.text("ship_log.py", "app.log", "--once") == ""
    assert len(titles(client, "log.line")) == 6


def test_many_writers_record_each_job_with_its_end(programs: Programs, client: Client) -> None:
    printed = programs.text("many_writers.py", "--jobs", "40", "--workers", "10")

    assert printed.startswith("40 jobs by 10 workers: 80 spans")
    done = {span["data"]["square"] for span in client.spans(Filter(kinds=("job.done",)))}
    assert done == {job * job for job in range(40)}


def test_a_span_is_proved_without_the_node_and_no_other_place_is(programs: Programs, client: Client) -> None:
    span_id = client.append(Draft(kind="contract.signed"))["id"]

    for arguments in ((), (span_id,)):
        printed = programs.text("prove_span.py", *arguments)
        assert "entries its node has signed" in printed
        assert "does not hold" in printed
        assert (span_id in printed) == bool(arguments)


def test_a_csv_is_imported_once_and_a_row_that_cannot_be_is_named(programs: Programs, client: Client) -> None:
    rows = [f"{number},{number}.50" for number in range(30)]
    (programs.folder / "payments.csv").write_text("\n".join(["payment,amount", *rows]) + "\n")
    command = ("import_csv.py", "payments.csv", "--kind", "payment.received")

    assert programs.text(*command) == "30 rows, 30 of them new\n"
    assert programs.text(*command) == "30 rows, 0 of them new\n"
    spans = list(client.spans(Filter(kinds=("payment.received",))))
    assert [span["data"]["amount"] for span in spans] == [f"{number}.50" for number in range(30)]
    assert "row 1: " in programs.text("import_csv.py", "payments.csv", "--kind", "Payment", code=1)


def test_every_example_is_run_here_and_described() -> None:
    here, described = Path(__file__).read_text("utf-8"), (ROOT / "docs/client.md").read_text("utf-8")

    assert len(EXAMPLES) == 6
    for path in EXAMPLES:
        assert f'"{path.name}"' in here
        assert f"(examples/{path.name})" in described
