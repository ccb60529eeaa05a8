"""A daemon and the webhooks of its settings: named, signed, changed by a reload, and kept from what is inside."""

import base64
import hmac
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from tests.daemon import Daemon

TASKS = "/v1/tenants/default/tasks"
WAIT_S_MAX = 60


@contextmanager
def receiver() -> Iterator[tuple[int, list[tuple[dict[str, str], bytes]]]]:
    """The port of a server that takes every message, and what it took."""
    taken: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ended(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """A task that notifies, once it has ended."""
    task = http.post(TASKS, json={"notify": body}).json()
    found: dict[str, Any] = task
    for _ in range(20 * WAIT_S_MAX):
        found = http.get(f"{TASKS}/{task['id']}").json()
        if found["ended_at"]:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_daemon_calls_the_webhooks_of_its_settings_and_no_others(tmp_path: Path) -> None:
    with receiver() as (port, taken):
        data_dir = tmp_path / "node"
        data_dir.mkdir()
        (data_dir / "webhook.ops").write_bytes(b"a secret of some bytes")
        hooks = f'[webhooks.ops]\nurl = "http://127.0.0.1:{port}/ops"\n'
        (data_dir / "lognode.toml").write_text(hooks)
        daemon = Daemon(data_dir)
        daemon.start()
        with daemon.client() as http:
            refused = ended(http, {"to": "ops", "text": "inside"})
            assert (refused["state"], refused["error"]) == ("dead", "webhook.forbidden")
            assert taken == []
            (data_dir / "lognode.toml").write_text('webhook_allow = ["127.0.0.0/8"]\n' + hooks)
            os.kill(daemon.pid, signal.SIGHUP)
            while "webhook_allow" not in daemon.log:
                time.sleep(0.05)
            done = ended(http, {"to": "ops", "text": "it burns", "data": {"n": 1}})
            assert (done["state"], done["attempts"]) == ("done", 1)
            assert http.post(TASKS, json={"notify": {"to": "other"}}).json()["code"] == "webhook.unknown"
        daemon.stop()
        ((headers, body),) = taken
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(b"a secret of some bytes", said, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert json.loads(body)["text"] == "it burns"
        assert headers["webhook-id"] == done["id"]
        assert "a secret" not in daemon.log
