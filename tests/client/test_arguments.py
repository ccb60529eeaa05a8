"""What a program may hand to the client, and what it is told when it hands over something else."""

from datetime import date
from typing import Any, Final, cast

import pytest

from lognode.client import Draft, Filter
from lognode.client.batch import Line
from lognode.core.errors import CallerError
from tests.client.forms import Connect
from tests.client.node_stub import Answer, stub

ADDED: Final = Answer(200, b'{"appended":1,"duplicates":0}')


async def test_a_json_line_may_be_text_or_bytes(connect: Connect) -> None:
    async with stub(ADDED) as node, connect(url=node.url) as client:
        lines: list[Line] = [
            '{"kind":"a.b","title":"\u00e9"}',
            '{"kind":"a.b","title":"\u00e9"}'.encode(),
            Draft(kind="a.b", title="\u00e9"),
        ]
        await client.append_batch(lines)
        async for _ in client.append_lines(lines):
            pass

        assert len(node.asked) == 2
        for asked in node.asked:
            assert asked.body.split(b"\n") == [lines[1]] * 3


async def test_what_is_no_line_is_named_before_anything_is_sent(connect: Connect) -> None:
    async with stub(ADDED) as node, connect(url=node.url) as client:
        with pytest.raises(TypeError, match="append takes a Draft, not dict"):
            await client.append(cast("Draft", {"kind": "a.b"}))
        with pytest.raises(TypeError, match="a line is a Draft or its JSON as text or bytes, not dict"):
            await client.append_batch([cast("Draft", {"kind": "a.b"})])
        with pytest.raises(CallerError) as caught:
            await client.append_batch(['{"kind":"\ud800"}'])

        assert caught.value.code == "json.not_utf8"
        assert node.asked == []


async def test_a_negative_limit_is_refused(connect: Connect) -> None:
    async with connect(url="unix:/nowhere") as client:
        with pytest.raises(ValueError, match="limit is -1"):
            client.spans(limit=-1)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kinds": "order.*"}, r"kinds is a tuple of texts, such as \('order\.\*',\)"),
        ({"tags": "paid"}, "tags is a tuple of texts"),
        ({"since": "2h"}, "since is a datetime with a time zone, not str"),
        ({"until": date(2026, 1, 31)}, "until is a datetime with a time zone, not date"),
    ],
)
def test_a_field_of_a_filter_that_means_something_else_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Filter(**fields)
