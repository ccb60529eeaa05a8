"""By which version of a rule set this node decides, where others have published one that it has not named yet."""

from collections.abc import AsyncIterator

import httpx
import pytest

from lognode.api.services import Services
from lognode.core.access import Level
from lognode.timeline.agreement.rules.publications import PUBLISH, rule_publish_data
from tests.api.serving import SPANS, http_client, serve, tenant_of
from tests.api.test_rules import RULES, admit, hash_of, publish, text_of
from tests.engine.receivers import keys_of
from tests.timeline.pens import Pen


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_what_came_from_others_is_shown_as_in_force_and_whether_this_node_decides_by_it_yet(
    services: Services, http: httpx.AsyncClient
) -> None:
    own, theirs, tenant = text_of("a", "x"), text_of("a", "y"), tenant_of(services)
    await publish(http, own)

    async def look() -> list[tuple[str, str | None, str | None]]:
        shown = (await http.get(f"{RULES}/a")).json()
        listed = (await http.get(RULES)).json()["rules"]
        assert listed[0]["here"] == shown["here"]
        return [(each["name"], each["version"], each["here"]) for each in listed]

    assert await look() == [("a", hash_of(own), hash_of(own))]
    root = keys_of(8)
    admissions = [await admit(services, root, Level.ROOT)]
    pen, now = Pen(root, tenant.tenant_id, admissions), services.world.now_ms() << 16
    pen.write(PUBLISH, rule_publish_data(admissions, "a", "yaml", theirs), hlc=now)
    pen.write(PUBLISH, rule_publish_data(admissions, "b", "yaml", text_of("b", "x")), hlc=now + 1)
    assert await services.writer.ingest(tenant, [pen.range()]) == [3]
    assert await look() == [("a", hash_of(theirs), hash_of(own)), ("b", hash_of(text_of("b", "x")), None)]
    await http.post(SPANS, json={"kind": "note"})
    assert await look() == [(name, version, version) for name, version, _ in await look()]
