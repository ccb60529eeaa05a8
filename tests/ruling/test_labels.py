"""Why and why not, asked of a node: the hundred questions of the corpus, each about a real history of its own."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path as Folder
from typing import Any, Final

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.cli.main import run as run_command
from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.ids import SpanId, b32encode
from lognode.engine.service.ruling.approvals.ending import Waiting
from lognode.identity.keys import NodeKeys
from lognode.rules.document import Path, Window
from lognode.settings import Settings
from lognode.timeline.members import Membership
from lognode.timeline.proof.checkpoint import parse_checkpoint
from lognode.timeline.record import TenantRef
from tests.api.conftest import TOKEN, open_services
from tests.api.serving import http_client, serve
from tests.engine.nodes import Engine, all_notes
from tests.engine.receivers import keys_of
from tests.rules.corpus import QUESTIONS, Question
from tests.rules.judged import NOON_MS, rules_of
from tests.ruling.published import settle
from tests.timeline.pens import Pen, admitted

YAML_MEDIA: Final = {"Content-Type": "application/yaml"}
TRUSTED: Final = keys_of(7)


def set_at(said: dict[str, Any], path: Path, value: Any) -> None:
    *above, last = map(str, path.segments)
    for name in above:
        said = said.setdefault(name, {})
    said[last] = value


def value_at(said: Any, path: Path) -> Any:
    for name in path.segments:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def counted(window: Window, span: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """Spans for which a window holds so much for this span; where it says nothing by which to count, for others."""
    for place in range(number):
        said: dict[str, Any] = {"kind": window.kinds[0]}
        set_at(said, window.by, value_at(span, window.by) or "somebody else")
        if window.of is not None:
            set_at(said, window.of, f"value {place}")
        yield said


def history(question: Question) -> Iterator[dict[str, Any]]:
    """What was written before the span of a question."""
    rules = rules_of(question.rules)
    windows = {window.name: window for rule in rules.rules for window in rule.windows}
    for name, number in question.past.get("windows", {}).items():
        yield from counted(windows[name], question.span, number)
    for subject, data in question.past.get("last", {}).items():
        yield {"kind": "account.changed", "subject": subject, "data": data}


class Node:
    """A node with its API, and what it does about reactions and approvals by itself."""

    def __init__(self, services: Services, url: str, http: httpx.AsyncClient) -> None:
        self.services = services
        self.url = url
        self.http = http
        self.keys = NodeKeys.from_seed(bytes(range(32)))
        self._names = map("corpus-{}".format, count())

    def engine(self, tenant: TenantRef) -> Engine:
        one, standings = self.services, self.services.desk.ground.standings
        return Engine(one.store, one.writer, one.heads, one.meters, tenant, self.keys, standings)

    async def post(self, path: str, **said: Any) -> httpx.Response:
        return await self.http.post(path, **said)

    async def found(self, tenant: str, kind: str) -> str:
        """The id of the newest span of a kind."""
        answer = await self.http.get(f"{tenant}/spans", params={"kind": kind, "limit": "1"})
        return str(answer.json()["spans"][0]["id"])

    async def write(self, question: Question) -> tuple[str, list[str]]:
        """The path of a tenant, and the ids of what tells of the span of a question: itself, or why it is not there."""
        name, said = next(self._names), dict(question.span)
        level = said.pop("level", "root")
        ref, path = await self.services.writer.create_tenant(name), f"/v1/tenants/{name}"
        for before in history(question):
            assert (await self.post(f"{path}/spans", json=before)).status_code == 201
        answer = await self.post(f"{path}/rules", content=question.rules.encode(), headers=YAML_MEDIA)
        assert answer.status_code == 201, answer.text
        if level == "trusted":
            return path, [await self.receive(ref, said)]
        answer = await self.post(f"{path}/spans", json=said)
        if answer.status_code == 201:
            ids = [str(answer.json()["id"])]
        else:
            assert answer.status_code in {202, 422}
            ids = [await self.found(path, "rule.fired")]
        if answer.status_code == 202:
            assert (await self.post(f"{path}/approvals/{ids[0]}/grant", json={})).status_code == 201
            engine = self.engine(ref)
            parts = engine.store, engine.writer, engine.heads, engine.standings, self.services.world
            await Waiting(*parts, self.keys.public).look(ref)
            written = await self.found(path, question.span["kind"])
            # Nobody had approved what was to wait; by what was written in the end somebody had.
            ids = [written] if "approvals" in question.past else [*ids, written]
        await settle(self.engine(ref))
        return path, ids

    async def receive(self, ref: TenantRef, said: dict[str, Any]) -> str:
        """The id of a span that a trusted member wrote who knew the rules."""

        def build(_members: Membership, after: list[SpanId]) -> bytes:
            return admitted(TRUSTED, self.keys, ref.tenant_id, after, Level.TRUSTED)

        admissions = [(await self.services.writer.append_control(ref, "member.admit", build)).id]
        pen = Pen(TRUSTED, ref.tenant_id, admissions, hlc=NOON_MS << 16)
        (ours,) = [feed for feed in self.services.store.feeds.values() if feed.tenant == ref.number]
        notes = await self.services.store.read(all_notes)
        heads = [parse_checkpoint(note) for number, note in notes if number == ours.number]
        head = max(heads, key=lambda one: one.size)
        pen.merge((ours.feed_id, head.size, head.root))
        span = pen.write(said["kind"], encode(said.get("data", {})))
        await self.services.writer.ingest(ref, [pen.range()])
        return b32encode(span)


@pytest.fixture
async def node(tmp_path: Folder) -> AsyncIterator[Node]:
    async with (
        open_services(Settings(data_dir=tmp_path), lambda: NOON_MS) as services,
        serve(services) as url,
        http_client(services, url) as http,
    ):
        yield Node(services, url, http)


class Command:
    """The command line, asked in this process."""

    def __init__(self, folder: Folder, node: Node, capsys: pytest.CaptureFixture[str]) -> None:
        self._token = folder / "token"
        self._token.write_text(TOKEN)
        self._node = node
        self._capsys = capsys

    async def say(self, tenant: str, *words: str) -> str:
        """What a command prints that must succeed."""
        where = ("--url", self._node.url, "--token-file", str(self._token), "--tenant", tenant.rpartition("/")[2])
        code = await trio.to_thread.run_sync(run_command, [*words, *where])
        shown = self._capsys.readouterr()
        assert code == 0, shown.err
        return shown.out


async def ask(node: Node, command: Command, question: Question, *, has_text: bool) -> None:
    """Ask routes and commands about every span that tells of a question's span, and compare with the answer by hand."""
    name = rules_of(question.rules).name
    tenant, ids = await node.write(question)
    for id_ in ids:
        route = f"{tenant}/spans/{id_}/decision"
        account = (await node.http.get(f"{route}/{name}/{question.rule}")).json()
        question.check(account)
        decision = (await node.http.get(route)).json()
        told = [one["account"] for one in decision["rules"]]
        assert (account in told) == (question.outcome in {"fired", "failed"})
        again = (await node.http.get(route, params={"recheck": "true"})).json()["recheck"]
        # The one who waits for nobody's gate is found out.
        assert again["answer"] == ("altered" if question.span.get("level") == "trusted" else "same")

        shown = json.loads(await command.say(tenant, "why", id_, "--json"))
        assert shown["decision"] == decision
        sentence = await command.say(tenant, "why-not", f"{name}/{question.rule}", id_)
        assert sentence == account["sentence"] + "\n"
        if has_text and account in told:
            assert account["sentence"] in await command.say(tenant, "why", id_)


async def test_a_node_names_the_right_condition_with_its_values_for_each_question(
    tmp_path: Folder, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    command, wrong = Command(tmp_path, node, capsys), []
    for place, question in enumerate(QUESTIONS):
        try:
            await ask(node, command, question, has_text=place % 5 == 0)
        except AssertionError as error:
            wrong.append((place, question.rule, question.span, str(error)))
    assert not wrong, "\n".join(map(str, wrong))
