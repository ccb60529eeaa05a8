"""Back-tests over HTTP: how many at once, and beside which sets."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.core.limits import TRIALS_MAX
from tests.api.serving import SPANS, TENANT, code_of, http_client, serve

YAML: Final = {"Content-Type": "application/yaml"}
BACKTEST: Final = f"{TENANT}/backtest"


def rules(name: str, text: str) -> bytes:
    return f"rules: {name}\ndo:\n  - {{id: r, on: draft, kinds: [a.done], then: [{{reject: {text}}}]}}\n".encode()


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def try_out(http: httpx.AsyncClient, **params: str) -> dict[str, Any]:
    answer = await http.post(BACKTEST, content=rules("tried", "no"), headers=YAML, params=params)
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.text.splitlines()[-1])["report"])


class Run:
    """Stands for a trial that runs."""


async def test_so_many_trials_run_at_once_and_another_is_to_come_again(
    services: Services, http: httpx.AsyncClient
) -> None:
    await try_out(http)
    assert len(services.trials) == 0
    running = [Run() for _ in range(TRIALS_MAX)]
    services.trials.update(running)  # type: ignore[arg-type]
    answer = await http.post(BACKTEST, content=rules("tried", "no"), headers=YAML)
    assert (answer.status_code, code_of(answer), answer.json()["retryable"]) == (503, "rule.trials_busy", True)
    assert int(answer.headers["Retry-After"]) > 0
    running.pop()
    await try_out(http)


async def test_a_trial_whose_client_leaves_runs_no_more(services: Services, http: httpx.AsyncClient) -> None:
    for _ in range(TRIALS_MAX + 1):
        async with http.stream("POST", BACKTEST, content=rules("tried", "no"), headers=YAML) as answer:
            assert answer.status_code == 200
        with trio.fail_after(20):
            while services.trials:  # noqa: ASYNC110 - it looks at what the server does
                await trio.sleep(0.01)


async def test_a_set_is_tried_beside_those_in_force_or_alone(http: httpx.AsyncClient) -> None:
    for name in ("other", "tried"):
        await http.post(f"{TENANT}/rules", content=rules(name, "yes"), headers=YAML)
    assert (await http.post(SPANS, json={"kind": "b.done"})).status_code == 201
    report = await try_out(http)
    assert (report["beside"], report["against"] is not None) == (["other"], True)
    assert (await try_out(http, alone="true"))["beside"] == []
    for params in ({"alone": "yes"}, {"outcomes": "1"}):
        assert (
            code_of(await http.post(BACKTEST, content=rules("a", "b"), headers=YAML, params=params)) == "filter.invalid"
        )
