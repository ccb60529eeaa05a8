"""Which node a program talks to that names none: the one of the `lognode` command."""

from collections.abc import Mapping
from fcntl import LOCK_EX, flock
from pathlib import Path
from traceback import format_exception
from typing import Final

import pytest

from lognode.cli.options import Target
from lognode.client.place import Address, Route, usual_address
from lognode.core.errors import CallerError
from lognode.core.limits import SECRET_BYTES_MAX
from tests.client.forms import Connect
from tests.client.node_stub import Answer, stub

HOME: Final = {"HOME": "/home/you"}
ENVIRONMENTS: Final[Mapping[str, tuple[Mapping[str, str], Address]]] = {
    "a home": (HOME, Address(Path("/home/you/.local/share/lognode"))),
    "XDG": ({**HOME, "XDG_DATA_HOME": "/data"}, Address(Path("/data/lognode"))),
    "a relative XDG": ({**HOME, "XDG_DATA_HOME": "data"}, Address(Path("/home/you/.local/share/lognode"))),
    "a data directory": ({**HOME, "LOGNODE_DATA_DIR": "/node"}, Address(Path("/node"))),
    "a URL": ({**HOME, "LOGNODE_URL": "http://127.0.0.1:1"}, Address(url="http://127.0.0.1:1")),
    "a URL and a token": (
        {**HOME, "LOGNODE_URL": "unix:/s", "LOGNODE_TOKEN_FILE": "/token"},
        Address(url="unix:/s", token_file=Path("/token")),
    ),
    "both": (
        {**HOME, "LOGNODE_DATA_DIR": "/node", "LOGNODE_URL": "http://127.0.0.1:1"},
        Address(Path("/node"), "http://127.0.0.1:1"),
    ),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_program_finds_the_node_that_the_command_finds(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environ, address = ENVIRONMENTS[case]
    for name in ("LOGNODE_DATA_DIR", "LOGNODE_URL", "LOGNODE_TOKEN_FILE", "XDG_DATA_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert usual_address(environ) == address
    assert Target().address() == address


def test_a_service_that_connects_does_not_take_its_own_state_for_a_node() -> None:
    assert usual_address({**HOME, "STATE_DIRECTORY": "/var/lib/shop"}) == usual_address(HOME)


async def test_a_client_without_arguments_asks_the_node_of_its_environment(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.delenv("LOGNODE_DATA_DIR", raising=False)
    async with stub(Answer(200, b'{"spans":[],"older":null,"newer":"c"}')) as node:
        monkeypatch.setenv("LOGNODE_URL", node.url)
        async with connect(token_file=tmp_path / "token") as client:
            assert await client.newest_cursor() == "c"
        assert node.asked[0].headers["authorization"] == "Bearer secret"


async def test_paths_may_be_text(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("secret")
    (tmp_path / "other").write_text("other")
    async with stub(Answer(200, b"{}")) as node:
        (tmp_path / "api.url").write_text(node.url)
        with (tmp_path / "lognode.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            for named in ({}, {"token_file": str(tmp_path / "other")}):
                async with connect(data_dir=str(tmp_path), **named) as client:
                    await client.node()
        assert [asked.headers["authorization"] for asked in node.asked] == ["Bearer secret", "Bearer other"]


@pytest.mark.parametrize(
    ("url", "route", "base_url"),
    [
        ("http://127.0.0.1:1", Route(None, is_tls=False), "http://127.0.0.1:1"),
        ("https://node.example", Route(None, is_tls=True), "https://node.example"),
        ("unix:/run/api.sock", Route("/run/api.sock", is_tls=False), "http://localhost"),
        ("unix:///run/api.sock", Route("/run/api.sock", is_tls=False), "http://localhost"),
    ],
)
def test_a_url_says_how_to_connect(url: str, route: Route, base_url: str) -> None:
    place = Address(url=url).place()

    assert (place.route, place.base_url, place.token) == (route, base_url, None)


NO_TOKENS: Final = {
    "a second line": (b"secret\nsecret2\n", "token.missing"),
    "another file": (b"root:secret:0:0:root:/root:/bin/sh\ndaemon:secret:1:1::/:/bin/sh\n", "token.missing"),
    "a space": (b"secret and more", "token.missing"),
    "beyond ASCII": ("secret\u00e9".encode(), "token.missing"),
    "bytes": (b"secret\xff\x00", "token.missing"),
    "empty": (b" \n", "token.missing"),
    "large": (b"secret" * SECRET_BYTES_MAX, "file.unreadable"),
}


@pytest.mark.parametrize("case", NO_TOKENS)
async def test_a_file_that_holds_no_token_is_named_and_its_content_neither_shown_nor_sent(
    connect: Connect, case: str, tmp_path: Path
) -> None:
    content, code = NO_TOKENS[case]
    (tmp_path / "named").write_bytes(content)
    async with stub(Answer(200, b"{}")) as node, connect(url=node.url, token_file=tmp_path / "named") as client:
        with pytest.raises(CallerError) as caught:
            await client.node()

        error = caught.value
        assert error.code == code
        assert str(tmp_path / "named") in (error.place or error.detail)
        assert "secret" not in "".join(format_exception(error)).replace(str(tmp_path), "")
        assert node.asked == []


async def test_a_token_may_have_white_space_around_it(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\n secret\r\n")
    async with stub(Answer(200, b"{}")) as node, connect(url=node.url, token_file=tmp_path / "token") as client:
        await client.node()

        assert node.asked[0].headers["authorization"] == "Bearer secret"
