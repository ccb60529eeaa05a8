"""The client for threads is the one for trio, written by a script, and needs no trio itself."""

import shutil
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, CompletedProcess, run
from typing import Final

import pytest

import lognode.client
from tests.client.node_stub import Answer, stub_node

ROOT: Final = Path(__file__).parent.parent.parent
CLIENT: Final = "lognode/client"


def check(root: Path) -> CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts/sync_client.py"), "--check"]
    return run(command, stdout=PIPE, stderr=STDOUT, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts/sync_client.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "lognode", tmp_path / "lognode")
    return tmp_path


def test_the_client_for_threads_is_what_the_script_makes() -> None:
    checked = check(ROOT)

    assert checked.returncode == 0, f"{checked.stdout}run scripts/sync-client"


def test_a_form_that_was_changed_by_itself_is_found(checkout: Path) -> None:
    (checkout / CLIENT / "sync/extra.py").write_text("extra = 1\n")
    for name in ("sync/client.py", "aio/tail.py"):
        with (checkout / CLIENT / name).open("a") as file:
            file.write("changed = 1\n")
    checked = check(checkout)

    assert checked.returncode == 1
    names = [line.split()[0].removeprefix(f"{CLIENT}/sync/") for line in checked.stdout.splitlines()]
    assert names == ["client.py", "extra.py", "tail.py"]


def test_the_script_puts_right_what_it_finds(checkout: Path) -> None:
    for path in (checkout / CLIENT / "sync").glob("[!_]*.py"):
        path.write_text("")
    (checkout / CLIENT / "sync/extra.py").write_text("")
    run([sys.executable, checkout / "scripts/sync_client.py"], check=True, stdout=PIPE)

    made = {path.name: path.read_text() for path in (checkout / CLIENT / "sync").glob("[!_]*.py")}
    assert made == {path.name: path.read_text() for path in (ROOT / CLIENT / "sync").glob("[!_]*.py")}


def test_both_forms_have_the_same_methods() -> None:
    def names(form: type) -> set[str]:
        return {name.replace("aclose", "close") for name in vars(form) if not name.startswith("_")}

    assert names(lognode.client.AsyncClient) == names(lognode.client.Client)
    assert {"append", "spans", "tail", "close"} < names(lognode.client.Client)


def test_a_program_without_trio_has_its_client() -> None:
    program = """
import sys
sys.modules["trio"] = None
from lognode.client import connect
with connect(url=sys.argv[1]) as client:
    print(client.page()["newer"])
assert "lognode.client.aio" not in sys.modules
"""
    with stub_node(Answer(200, b'{"spans":[],"older":null,"newer":"c"}')) as node:
        printed = run([sys.executable, "-c", program, node.url], stdout=PIPE, text=True, check=True, cwd=ROOT).stdout

    assert printed == "c\n"


def test_a_name_that_the_client_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Clinet"):
        vars(lognode.client)["__getattr__"]("Clinet")
    assert set(lognode.client.__all__) <= {*dir(lognode.client), "AsyncClient", "connect_async"}
