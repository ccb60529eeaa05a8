"""The rule sets of docs/rules.md, published on a node and tried with spans: they do what the page says of them."""

from collections.abc import AsyncIterator
from pathlib import Path as Folder
from typing import Any, Final

import httpx
import pytest

from lognode.settings import Settings
from tests.api.conftest import open_services
from tests.api.serving import http_client, serve
from tests.house import ROOT
from tests.rules.judged import NOON_MS
from tests.rules.test_reference_of_rules import SETS
from tests.ruling.published import settle
from tests.ruling.test_labels import YAML_MEDIA, Node

HOUR_MS: Final = 3_600_000
NIGHT_MS: Final = NOON_MS + 11 * HOUR_MS  # 23:00 in UTC
TENANT: Final = "/v1/tenants/default"
TEXTS: Final = {text.split(maxsplit=2)[1]: text for text in SETS}


@pytest.fixture
async def node(tmp_path: Folder) -> AsyncIterator[Node]:
    async with (
        open_services(Settings(data_dir=tmp_path), lambda: NIGHT_MS) as services,
        serve(services) as url,
        http_client(services, url) as http,
    ):
        yield Node(services, url, http)


async def publish(node: Node, text: str) -> None:
    answer = await node.post(f"{TENANT}/rules", content=text.encode(), headers=YAML_MEDIA)
    assert answer.status_code == 201, answer.text


async def write(node: Node, kind: str, **said: Any) -> httpx.Response:
    data = {name: value for name, value in said.items() if name != "subject"}
    fields = {"subject": said["subject"]} if "subject" in said else {}
    return await node.post(f"{TENANT}/spans", json={"kind": kind, "data": data, **fields})


async def react(node: Node) -> None:
    await settle(node.engine(node.services.store.tenants["default"]))


async def found(node: Node, kind: str) -> list[Any]:
    return list((await node.http.get(f"{TENANT}/spans", params={"kind": kind})).json()["spans"])


def test_each_rule_set_of_the_page_is_tried() -> None:
    assert TEXTS.keys() == {"brute-force", "limits", "windows", "accounts", "expressions", "orders"}


async def test_clients_with_too_many_failures_may_not_log_in(node: Node) -> None:
    await publish(node, TEXTS["brute-force"])
    for _ in range(20):
        assert (await write(node, "login.failed", client="a")).status_code == 201
    assert (await write(node, "login.attempted", client="a")).status_code == 201
    assert (await write(node, "login.failed", client="a")).status_code == 201
    answer = await write(node, "login.attempted", client="a")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "a failed 21 times in 5 minutes"
    assert (await write(node, "login.attempted", client="b")).status_code == 201


async def test_large_payments_wait_for_approval(node: Node) -> None:
    await publish(node, TEXTS["limits"])
    for amount, currency in ((1000, "EUR"), (1001, "USD")):
        assert (await write(node, "payment.requested", amount=amount, currency=currency)).status_code == 201
    answer = await write(node, "payment.requested", amount=1001, currency="EUR", to="Ann")
    assert answer.status_code == 202
    approval = (await node.http.get(f"{TENANT}/approvals/{answer.json()['id']}")).json()
    assert (approval["text"], approval["role"], approval["of"]) == ("1001 EUR for Ann", "root", 1)
    assert approval["until"] == "2026-01-02T23:00:00.000Z"


async def test_who_spends_too_much_or_pays_too_many_only_tries(node: Node) -> None:
    await publish(node, TEXTS["windows"])
    payments = [("a", 4999, "x"), ("a", 1, "x"), ("a", 1, "x"), *(("b", 1, f"{number}") for number in range(11))]
    for account, amount, to in payments:
        assert (await write(node, "payment.made", account=account, amount=amount, to=to)).status_code == 201
    newest = [(one["data"]["account"], one["status"]) for one in await found(node, "payment.made")]
    assert [account for account, status in newest if status == "simulated"] == ["b", "a"]
    notes = [one["data"]["rules"][0]["effects"][0]["simulate"]["text"] for one in await found(node, "rule.fired")]
    assert notes == ["11 in 30 days, 11 payees in an hour", "5001 in 30 days, 1 payees in an hour"]


async def test_closed_accounts_pay_nothing(node: Node) -> None:
    await publish(node, TEXTS["accounts"])
    for kind, status in (("account.opened", 201), ("account.closed", 422), ("account.opened", 201)):
        assert (await write(node, kind, subject="a")).status_code == 201
        answer = await write(node, "payment.made", account="a")
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["detail"] == "a was closed at 2026-01-01T23:00:00.000Z"
    assert (await write(node, "payment.made", account="b")).status_code == 201


async def test_work_at_night_is_tagged_but_that_of_guards(node: Node) -> None:
    await publish(node, TEXTS["expressions"])
    for said in ({"badge": "visitor"}, {"badge": "guard-1"}, {}):
        assert (await write(node, "door.opened", **said)).status_code == 201
    await react(node)
    (fired,) = await found(node, "rule.fired")
    assert fired["data"]["rules"][0]["effects"] == [{"add_tag": {"tags": ["night"]}}]
    assert (await node.http.get(f"{TENANT}/spans", params={"tag": "night"})).json()["spans"] == []
    visitor = next(one for one in await found(node, "door.opened") if one["data"].get("badge") == "visitor")
    assert fired["caused_by"] == visitor["id"]


async def test_orders_are_remembered_and_reports_come_every_night(node: Node) -> None:
    await publish(node, TEXTS["orders"])
    assert (await write(node, "order.placed", subject="order/7")).status_code == 201
    assert (await write(node, "report.wanted")).status_code == 201
    await react(node)
    (task,) = (await node.http.get(f"{TENANT}/tasks")).json()["tasks"]
    assert (task["name"], task["due_at"]) == ("remind-order/7", "2026-01-03T23:00:00.000Z")
    emit = (await node.http.get(f"{TENANT}/tasks/{task['id']}")).json()["emit"]
    assert (emit["kind"], emit["subject"]) == ("order.overdue", "order/7")
    assert emit["data"] == {"placed": "2026-01-01T23:00:00.000Z"}
    (schedule,) = (await node.http.get(f"{TENANT}/schedules")).json()["schedules"]
    assert (schedule["name"], schedule["cron"], schedule["missed"]) == ("nightly", "0 3 * * *", "once")
    assert schedule["next_at"].endswith("T03:00:00.000Z")


async def test_the_ready_set_against_brute_force_keeps_out_who_goes_on_trying(node: Node) -> None:
    await publish(node, (ROOT / "config/rules/brute-force.yaml").read_text("utf-8"))
    answers = []
    for number in range(25):
        answers.append((await write(node, "login.attempted", client="a", account=f"u{number}")).status_code)
        assert (await write(node, "login.failed", client="a", account=f"u{number}")).status_code == 201
    assert answers == [201] * 21 + [422] * 4
    await react(node)
    (alert,) = await found(node, "alert.brute_force")
    assert (alert["subject"], alert["data"]["failures"]) == ("client/a", 21)
    tagged = (await node.http.get(f"{TENANT}/spans", params={"tag": "credential-stuffing"})).json()["spans"]
    assert len(tagged) == 20


async def test_the_ready_set_of_spending_limits_asks_refuses_and_lets_through(node: Node) -> None:
    await publish(node, (ROOT / "config/rules/spending-limit.yaml").read_text("utf-8"))

    async def pay(amount: int, account: str = "a", to: str = "x") -> int:
        said = {"account": account, "amount": amount, "currency": "EUR", "to": to}
        return (await write(node, "payment.requested", **said)).status_code

    assert [await pay(0), await pay(60_000), await pay(2000), await pay(900)] == [422, 422, 202, 201]
    assert [await pay(1000), await pay(1000), await pay(200)] == [201, 201, 202]  # 3,000 a day
    assert [await pay(1, "b", f"payee {number}") for number in range(7)] == [201] * 5 + [202] * 2
    assert (await write(node, "account.frozen", subject="c")).status_code == 201
    assert await pay(1, "c") == 422
    assert (await write(node, "account.released", subject="c")).status_code == 201
    assert await pay(1, "c") == 201
