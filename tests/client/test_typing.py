"""Users get the client's types: a strict type checker reads them from the installed package, in both forms."""

import sys
import venv
import zipfile
from pathlib import Path
from subprocess import PIPE, STDOUT, CompletedProcess, run
from sysconfig import get_path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent

PROGRAM: Final = """
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from lognode.client import (
    Appended, Arrival, AsyncClient, CallerError, Draft, Filter, LognodeError, Receipt, connect, connect_async
)

connect(data_dir="/var/lib/lognode"), connect(url="unix:/s", token_file=Path("token"))
with connect(patience_s=1.0) as client:
    receipt: Receipt = client.append(Draft(kind="order.paid", tags=("a",)))
    position: int = receipt["position"]
    titles = [span.get("title") for span in client.spans(Filter(kinds=("order.*",)), limit=10)]
    known: list[str | None] = titles
    added: list[Appended] = list(client.append_lines([b"{}", "{}", Draft(kind="a.b")]))
    with client.tail(after="c", on_lost=lambda error: print(error.code), on_back=print) as tail:
        for cursor, span in tail:
            place: tuple[str, str] = cursor, span["kind"]
    try:
        client.ready()
    except CallerError as error:
        family: LognodeError = error


async def lines() -> AsyncIterator[Draft]:
    yield Draft(kind="a.b")


async def main(client: AsyncClient) -> None:
    receipt: Receipt = await client.append(Draft(kind="order.paid"), idempotency_key="k")
    titles: list[str | None] = [span.get("title") async for span in client.spans()]
    added: list[Appended] = [answer async for answer in client.append_lines(lines())]
    async with connect_async() as other, other.tail() as tail:
        arrival: Arrival = await anext(tail)


trio.run(main, connect_async())
"""
MISTAKES: Final = {
    'client.append(Draft(kind="order.paid"), key="k")': "call-arg",
    "client.append(b'{}')": "arg-type",
    'client.span("s")["titel"]': "typeddict-item",
    'client.append_lines([{"kind": "a.b"}])': "list-item",
    "Draft(kind=1)": "arg-type",
    'Filter(kinds="order.*")': "arg-type",
    'Filter(since="2h")': "arg-type",
    "from lognode.client import Clinet": "attr-defined",
    "for span in client.spans():\n    span.title": "attr-defined",
    "for span in connect_async().spans():\n    pass": "attr-defined",
    'trio.run(connect_async().append, "draft")': "arg-type",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel is installed, beside what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run(build, cwd=ROOT, check=True, stdout=PIPE)
    venv.create(folder / "environment")
    (site,) = (folder / "environment").glob("lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The lines of .pth files below this directory do not count, so the checkout is not on the path.
    (site / "dependencies.pth").write_text(get_path("purelib") + "\n")
    return folder / "environment/bin/python"


def checked(python: Path, folder: Path, program: str) -> CompletedProcess[str]:
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "program.py"]
    return run(
        [*command, "--cache-dir", str(python.parent.parent / "mypy")],
        cwd=folder,
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
        check=False,
    )


def test_a_program_passes_a_strict_type_check_against_the_wheel(python: Path, tmp_path: Path) -> None:
    done = checked(python, tmp_path, PROGRAM)

    assert done.returncode == 0, done.stdout


def test_a_mistake_is_found_by_the_type_check(python: Path, tmp_path: Path) -> None:
    done = checked(python, tmp_path, PROGRAM + "\n".join(MISTAKES) + "\n")

    found = [line.rpartition("[")[2].rstrip("]") for line in done.stdout.splitlines() if "error:" in line]
    assert found == list(MISTAKES.values()), done.stdout


def test_the_types_are_those_of_the_wheel(python: Path, tmp_path: Path) -> None:
    (marker,) = python.parent.parent.glob("lib/python*/site-packages/lognode/py.typed")
    marker.rename(marker.with_name("untyped"))
    try:
        done = checked(python, tmp_path, PROGRAM)
    finally:
        marker.with_name("untyped").rename(marker)

    assert "missing library stubs or py.typed marker" in done.stdout
