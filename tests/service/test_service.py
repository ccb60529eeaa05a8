"""The unit's own command under a manager that listens: ready, alive, reloading, stopping, and what it is handed."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import httpx
import pytest

from tests.daemon import LOGNODE
from tests.service.managed import HEAR_S_MAX, WATCHDOG_USEC, Managed, activated_sockets
from tests.service.units import SERVICE, value
from tests.test_hostile_settings import HOSTILE_VALUES

INTERVAL_S: Final = WATCHDOG_USEC / 1_000_000 / 3
PINGS: Final = 4
# Parts that every node has.
BASIC: Final = {
    "api",
    "announcing",
    "approvals",
    "conflicts",
    "discovery",
    "forks",
    "listeners",
    "merging",
    "reactions",
    "rejections",
    "restoring",
    "subscriptions",
    "sync",
    "tasks",
}
DRAFT: Final = {"kind": "note.made"}


def node_of(managed: Managed) -> Any:
    with managed.client() as http:
        return http.get("/v1/node").json()


def parts_of(managed: Managed) -> dict[str, Any]:
    """The subsystems by name, save those that are off."""
    return {part["name"]: part for part in node_of(managed)["subsystems"] if part["state"] != "off"}


def lognode(managed: Managed, *arguments: str) -> str:
    """What a command prints, by whoever owns the state directory."""
    command = (*LOGNODE, *arguments, "--data-dir", str(managed.state))
    environ = {"HOME": str(managed.folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ).stdout


def test_it_says_when_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        managed.spawn()
        assert managed.hear("READY") == {"READY": "1", "STATUS": f"API at {managed.url}"}
        with managed.client() as http:
            assert http.post("/v1/tenants/default/spans", json=DRAFT).status_code == 201
        for _ in range(PINGS):
            managed.hear("WATCHDOG")
        managed.stop()
        assert not (managed.state / "api.url").exists()
        assert {path.stat().st_mode & 0o077 for path in managed.state.iterdir()} == {0}


def test_a_reload_changes_what_it_can_and_drops_nobody(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        managed.start()
        config = managed.configuration / "lognode.toml"
        with managed.client() as http:
            stranger = {"Host": "node.example"}
            assert http.get("/livez", headers=stranger).status_code == 403
            assert http.get("/v1/tenants/default/spans?text=note").json()["code"] == "search.off"
            with http.stream("GET", "/v1/tenants/default/live") as tail:
                events = tail.iter_lines()
                config.write_text(
                    f"""
                    allowed_hosts = ["node.example"]
                    search = ["default"]
                    mirror_dir = "{tmp_path}/copy"
                    api = false
                    """
                )
                managed.signal(signal.SIGHUP)
                managed.hear("RELOADING")
                assert managed.hear("READY")["STATUS"] == f"API at {managed.url}; restart for api"
                assert http.get("/livez", headers=stranger).status_code == 200
                assert http.get("/v1/tenants/default/spans?text=note").status_code == 200
                http.post("/v1/tenants/default/spans", json=DRAFT)
                assert next(line for line in events if line.startswith("data: "))  # the tail that was there before
            node = http.get("/v1/node").json()
            assert parts_of(managed).keys() == {*BASIC, "mirror.default", "search.default"}
            assert node["reload"] == {"error": None, "detail": None, "place": None, "waiting": ["api"]}
            assert "Restart" in lognode(managed, "status")
            # Back to what it was.
            config.unlink()
            managed.signal(signal.SIGHUP)
            managed.hear("RELOADING")
            assert managed.hear("READY")["STATUS"] == f"API at {managed.url}"
            assert http.get("/livez", headers=stranger).status_code == 403
            assert http.get("/v1/tenants/default/spans?text=note").json()["code"] == "search.off"
            assert parts_of(managed).keys() == BASIC
        managed.stop()
        (mirrored,) = (tmp_path / "copy").glob("*/*.ndjson")
        assert b"note.made" in mirrored.read_bytes()


@pytest.mark.parametrize(
    ("toml", "code", "said"),
    [
        ('log_level = "debug"\nlistn = 1', "settings.unknown", "lognode.toml:2"),
        ('log_level = "debug"\nsearch = ["nobody"]', "tenant.unknown", "'nobody'"),
    ],
)
def test_a_reload_of_bad_settings_changes_nothing_and_says_why(tmp_path: Path, toml: str, code: str, said: str) -> None:
    with Managed(tmp_path) as managed:
        config = managed.configuration / "lognode.toml"
        config.write_text('allowed_hosts = ["node.example"]\nsearch = ["default"]')
        managed.start()
        config.write_text(toml)
        managed.signal(signal.SIGHUP)
        managed.hear("RELOADING")
        status = managed.hear("READY")["STATUS"]

        assert "reload failed, nothing changed" in status
        assert said in status
        assert f"[{code}]" in status
        (entry,) = [line for line in entries(managed) if line["event"] == "reload_failed"]
        assert (entry["code"], entry["level"]) == (code, "error")
        assert node_of(managed)["reload"]["error"] == code
        assert f"[{code}]" in lognode(managed, "status")
        with managed.client() as http:
            assert http.get("/livez", headers={"Host": "node.example"}).status_code == 200
            assert http.get("/v1/tenants/default/spans?text=note").status_code == 200
        managed.stop()


def test_files_that_nobody_would_write_change_nothing(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        config = managed.configuration / "lognode.toml"
        managed.start()
        for toml, code, said in HOSTILE_VALUES:
            config.write_text(f"\n{toml}")
            managed.signal(signal.SIGHUP)
            managed.hear("RELOADING")
            status = managed.hear("READY")["STATUS"]
            assert f"{config}:2" in status
            assert said in status
            assert f"[{code}]" in status
        managed.stop()


def entries(managed: Managed) -> list[dict[str, Any]]:
    """The log's entries, each of which is JSON behind its priority."""
    lines = [line for line in managed.log.splitlines() if line.startswith("<")]
    return [{**json.loads(line[3:]), "priority": int(line[1])} for line in lines]


def test_the_journal_gets_json_with_priorities(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        managed.start()
        managed.signal(signal.SIGHUP)
        managed.hear("RELOADING")
        managed.hear("READY")
        (managed.configuration / "lognode.toml").write_text("listn = 1")
        managed.signal(signal.SIGHUP)
        managed.hear("RELOADING")
        managed.hear("READY")
        managed.stop()

        priorities = {entry["event"]: entry["priority"] for entry in entries(managed)}
        assert priorities == {"reloaded": 6, "reload_failed": 3, "node_stopping": 6}


def test_clients_of_the_activated_sockets_wait_while_it_starts_and_starts_again(tmp_path: Path) -> None:
    tcp, unix = activated_sockets(tmp_path)
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with tcp, unix, Managed(tmp_path, handed=[tcp, unix]) as managed:
        for _ in range(2):
            with socket.create_connection(tcp.getsockname()) as early, socket.socket(socket.AF_UNIX) as local:
                local.connect(unix.getsockname())
                for sock in (early, local):
                    sock.sendall(request)
                managed.start()
                assert managed.url == f"http://127.0.0.1:{tcp.getsockname()[1]}"
                for sock in (early, local):
                    sock.settimeout(HEAR_S_MAX)
                    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            managed.stop()
        assert Path(unix.getsockname()).exists()  # it is systemd's


def test_an_activated_socket_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere, Managed(tmp_path, handed=[everywhere]) as managed:
        managed.spawn()
        code = managed.end()

        assert code == 2
        assert str(code) in value(SERVICE, "RestartPreventExitStatus").split()
        assert "LISTEN_FDS, socket 1 (lognode.socket): 0.0.0.0 is not a loopback address" in managed.log


def test_the_passphrase_comes_as_a_credential(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        credential = managed.credentials / value(SERVICE, "LoadCredential").split(":")[0]
        credential.write_text("a passphrase\n")
        managed.start()
        managed.stop()
        managed.start()
        managed.stop()
        credential.unlink()
        managed.spawn()
        code = managed.end()

        assert str(code) in value(SERVICE, "RestartPreventExitStatus").split()
        assert "key.passphrase" in managed.log


def test_a_node_without_its_api_is_a_node(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        (managed.configuration / "lognode.toml").write_text("api = false")
        managed.spawn()
        assert managed.hear("READY")["STATUS"] == "API switched off"
        managed.hear("WATCHDOG")
        assert not (managed.state / "api.url").exists()
        managed.stop()


def test_a_part_that_fails_is_shown_with_its_next_try(tmp_path: Path) -> None:
    with Managed(tmp_path, patch="failing_index") as managed:
        (managed.configuration / "lognode.toml").write_text('search = ["default"]')
        managed.start()
        while parts_of(managed)["search.default"]["restarts"] < 2:
            time.sleep(0.02)
        shown = json.loads(lognode(managed, "status", "--json"))["node"]["subsystems"]
        (told,) = [part for part in shown if part["name"] == "search.default"]

        assert parts_of(managed)["api"]["restarts"] == 0
        assert told["error"] == "node.internal"
        assert told["detail"] == "OSError: [Errno 5] the index is broken"
        assert told["state"] == "running" or told["retry_s"] > 0
        assert "last failure: OSError: [Errno 5] the index is broken [node.internal]" in lognode(managed, "status")
        with managed.client() as http:
            assert http.post("/v1/tenants/default/spans", json=DRAFT).status_code == 201
        managed.signal(signal.SIGTERM)
        assert managed.end() == 0


def test_the_api_is_started_again_on_the_same_address(tmp_path: Path) -> None:
    with Managed(tmp_path, patch="stumbling_api") as managed:
        managed.start()
        url = managed.url
        with managed.client() as http, pytest.raises(httpx.TransportError):
            http.get("/livez")
        api = parts_of(managed)["api"]

        assert managed.url == url
        assert (api["state"], api["restarts"], api["error"]) == ("running", 1, "node.internal")
        assert api["detail"] == "RuntimeError: the server fell"
        managed.signal(signal.SIGTERM)
        assert managed.end() == 0


@contextmanager
def delayed(managed: Managed, call: str) -> Iterator[None]:
    """While inside, this system call takes a minute, as on a disk that hangs."""
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:delay_enter={60_000_000}")
    strace = Popen(("strace", "-f", "-p", str(managed.pid), "-o", "/dev/null", *inject))
    try:
        while f"TracerPid:\t{strace.pid}\n" not in Path(f"/proc/{managed.pid}/status").read_text():
            assert strace.poll() is None, "strace may not trace"
        yield
    finally:
        strace.kill()  # what it holds up goes on
        strace.wait()


@pytest.mark.parametrize(
    ("patch", "call", "goes_on"),
    [
        ("traceable", "fcntl", False),  # a read: by it SQLite locks its snapshot
        ("traceable", "fdatasync", False),  # a commit
        ("traceable", "statfs", True),  # neither
        ("blind", "fcntl", True),  # what a watchdog that does not look would say
        ("blind", "fdatasync", True),
    ],
)
def test_pings_stop_when_the_database_hangs_and_go_on_with_it(
    tmp_path: Path, patch: str, call: str, *, goes_on: bool
) -> None:
    with Managed(tmp_path, patch=patch) as managed:
        managed.start()
        managed.hear("WATCHDOG")
        with managed.client() as http:
            append = threading.Thread(target=http.post, args=["/v1/tenants/default/spans"], kwargs={"json": DRAFT})
            with delayed(managed, call):
                append.start()
                if goes_on:
                    for _ in range(PINGS):
                        managed.hear("WATCHDOG")
                else:
                    assert managed.pings_within(PINGS * INTERVAL_S) == 0
            managed.hear("WATCHDOG")
            append.join()
        managed.stop()


def wait_until_allowed(url_path: Path, host: str) -> None:
    """Return once a SIGHUP that came, or is to come, made the node allow a host."""
    while True:
        answer = httpx.get(f"{url_path.read_text().strip()}/livez", headers={"Host": host}, trust_env=False)
        if answer.status_code == 200:
            return
        time.sleep(0.02)


def test_the_terminal_that_goes_takes_the_node_with_it(tmp_path: Path) -> None:
    """A SIGHUP that somebody sends reloads; that of a closed terminal ends the node, but not under nohup."""
    for wrapper, outlives in (((), False), (("nohup",), True)):
        home = tmp_path / f"home{outlives}"
        home.mkdir()
        terminal, inside = os.openpty()
        command = ("setsid", "--ctty", *wrapper, *LOGNODE, "up", "--listen", "127.0.0.1:0")
        environ = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        with Popen(command, env=environ, cwd=home, stdin=inside, stdout=inside, stderr=inside) as node:
            os.close(inside)
            url_path = home / ".local/share/lognode/api.url"
            while not url_path.exists():
                assert node.poll() is None
                time.sleep(0.02)
            settings = url_path.with_name("lognode.toml")
            settings.write_text('allowed_hosts = ["sent.example"]')
            node.send_signal(signal.SIGHUP)
            wait_until_allowed(url_path, "sent.example")
            settings.write_text('allowed_hosts = ["hangup.example"]')
            os.close(terminal)
            if outlives:
                wait_until_allowed(url_path, "hangup.example")
                node.terminate()
            assert node.wait(HEAR_S_MAX) == 0
