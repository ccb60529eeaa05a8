"""Spans to which a rule reacts, by a daemon that is killed again and again; and what there is of the effects then.

What sets reactions off is sent while they are going on, under keys, until it is acknowledged. The places at which the
daemon is killed are counted in effects and come from the seed; what it is doing then does not.
"""

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Thread
from typing import Any, Final, NamedTuple

import httpx

from lognode.timeline.store.audit import audit_file
from tests.faults.processes import HinderedDaemon

RULES: Final = b"""rules: follow
do:
  - id: answer
    on: commit
    kinds: [question]
    then: [{emit: {kind: answer, data: {n: "{data.n}"}}}]
"""
TENANT: Final = "/v1/tenants/default"
CHUNK: Final = 250  # questions that are sent at a time
END_S_MAX: Final = 120
PAUSE_S_MAX: Final = 0.05  # from the place of a kill to the kill
_COUNT: Final = "SELECT count(*) FROM spans JOIN kinds USING (kind) WHERE name = 'answer'"


class Found(NamedTuple):
    """How often each question was answered, and how often it was told that a rule fired for it."""

    answers: Counter[int]
    firings: Counter[int]

    def is_once(self, spans: int) -> bool:
        """Whether everything is there once."""
        return self.answers == self.firings == Counter(range(spans))


def reactions_after_kills(daemon: HinderedDaemon, seed: int, spans: int, kills: int) -> Found:
    """What is there once so many questions are answered, in spite of the kills."""
    rng = random.Random(seed)
    daemon.start()
    with daemon.client() as http:
        headers = {"Content-Type": "application/yaml"}
        http.post(f"{TENANT}/rules", content=RULES, headers=headers).raise_for_status()
    places = sorted(rng.sample(range(1, spans - spans // 10), kills))
    with closing(sqlite3.connect(f"file:{daemon.data_dir}/lognode.db?mode=ro", uri=True)) as conn:
        for before, place in zip([0, *places], places, strict=False):
            # Enough to get there, and some that are not answered yet when it is killed.
            sender = Thread(target=_send, args=(daemon, before, min(spans, place + CHUNK)))
            sender.start()
            _wait(conn, place)
            time.sleep(rng.uniform(0, PAUSE_S_MAX))
            daemon.kill()
            sender.join()
            daemon.start()
        _send(daemon, 0, spans, must=True)
        _wait(conn, spans)
    found = _found(daemon)
    daemon.stop()
    assert audit_file(daemon.data_dir / "lognode.db") == []
    return found


def _send(daemon: HinderedDaemon, start: int, stop: int, *, must: bool = False) -> None:
    """Ask questions under their keys, some that were asked before too."""
    with daemon.client() as http:
        for first in range(max(0, start - CHUNK), stop, CHUNK):
            lines = [
                json.dumps({"kind": "question", "data": {"n": number}, "idempotency_key": f"{number}"})
                for number in range(first, min(stop, first + CHUNK))
            ]
            headers = {"Content-Type": "application/x-ndjson"}
            with suppress(*(() if must else (httpx.TransportError,))):
                answer = http.post(f"{TENANT}/spans", content="\n".join(lines), headers=headers)
                assert not must or answer.is_success, answer.text


def _wait(conn: sqlite3.Connection, answers: int) -> None:
    """Return once so many are there, or nothing comes any more, which is told by what is there."""
    deadline, held = time.monotonic() + END_S_MAX, 0
    while (count := int(conn.execute(_COUNT).fetchone()[0])) < answers:
        if count > held:
            deadline, held = time.monotonic() + END_S_MAX, count
        assert time.monotonic() < deadline, f"{count} of {answers} effects are there, and no more come"
        time.sleep(0.002)


def _found(daemon: HinderedDaemon) -> Found:
    with daemon.client() as http:
        numbers = {span["id"]: span["data"]["n"] for span in _spans(http, "question")}
        answers = Counter(span["data"]["n"] for span in _spans(http, "answer"))
        firings = Counter(numbers[span["caused_by"]] for span in _spans(http, "rule.fired"))
    return Found(answers, firings)


def _spans(http: httpx.Client, kind: str) -> Iterator[dict[str, Any]]:
    params = {"kind": kind, "limit": "1000"}
    while params.get("before") != "":
        page = http.get(f"{TENANT}/spans", params=params).raise_for_status().json()
        yield from page["spans"]
        params["before"] = page["older"] or ""
