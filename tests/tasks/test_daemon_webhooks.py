"""A daemon and the webhooks of its settings: named, signed, changed by a reload, and kept from what is inside."""

import base64
import hmac
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.daemon import Daemon
from tests.tasks.receiver import receiver

TASKS = "/v1/tenants/default/tasks"
WAIT_S_MAX = 60


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
