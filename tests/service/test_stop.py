"""SIGTERM cuts nobody off who is being answered, and lets nobody in after it."""

import json
import signal
import socket
from pathlib import Path
from typing import Final

from tests.service.managed import HEAR_S_MAX, Managed

TITLE: Final = "x" * 4000
SPANS: Final = 900
PAGE: Final = "/v1/tenants/default/spans?kind=note.made&limit=1000"


def test_a_client_that_reads_slowly_gets_its_whole_answer_while_the_node_stops(tmp_path: Path) -> None:
    with Managed(tmp_path) as managed:
        managed.start()
        with managed.client() as http:
            lines = json.dumps({"kind": "note.made", "title": TITLE}).encode() + b"\n"
            ndjson = {"Content-Type": "application/x-ndjson"}
            assert http.post("/v1/tenants/default/spans", content=lines * SPANS, headers=ndjson).status_code == 201
            authorization = http.headers["Authorization"]
        host, port = managed.url.removeprefix("http://").split(":")
        head = f"GET {PAGE} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {authorization}\r\n\r\n"
        with socket.socket() as slow, socket.create_connection((host, int(port))) as idle:
            # So small that most of the answer waits inside the daemon when it is told to stop.
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(HEAR_S_MAX)
            slow.connect((host, int(port)))
            slow.sendall(head.encode())
            answer = slow.recv(1000)
            managed.signal(signal.SIGTERM)
            managed.hear("STOPPING")
            idle.settimeout(HEAR_S_MAX)
            assert idle.recv(1) == b""  # who waits for nothing is let go at once
            while part := slow.recv(65536):
                answer += part
        header, _, body = answer.partition(b"\r\n\r\n")
        assert header.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in header.lower() or b"content-length" in header.lower()
        assert len(json.loads(body)["spans"]) == SPANS
        assert managed.end() == 0
