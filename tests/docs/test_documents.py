"""What the documents tell a reader to type works: README.md and docs/**/*.md, block by block, on a real node.

A document is read from top to bottom. Each has a node of its own (`lognode up` on the default data directory
of a clean home), a working directory that shows the files of the checkout, and one state: variables, the
directory and files that a block leaves are there for the blocks behind it. The word behind a fence says what is
done with its block:

    sh        a script for bash, with -eu and pipefail; its output is free
    console   a terminal of 100 columns: lines with `$ ` are commands (`> ` goes on with one), the lines below a
              command are what it prints, on stdout and stderr
    python    a part of one Python program a document, run in this process; its names last to the next block
    text, json, ndjson, toml, sql, cddl
              shown, never run; a fence without a word, or with another one, fails

In what a command prints, `...` stands for any text, a line of its own for any lines. Ids, keys, hashes, times,
ports and the home directory (shown as /home/you) are taken by their shape: any other of the kind will do.
Runs of blanks count as one.

Further words on the fence make the exceptions, and readers of the source see them:

    exit=3              the last command ends with this exit code, in place of 0
    until="text"        the block follows without end: it must print this text, and then gets Ctrl-C
    background          it runs on while the blocks behind it run, and is ended with the document. With until=, the
                        next block waits for that text
    finally="text"      of a background block: by the end of the document it has printed this text too
    node                the command starts the node, which runs already: what is shown is compared with what that
                        printed
    elsewhere="PATH"    it is not run here: that test runs it. Every command's first word must stand there
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from cyclopts import App

from lognode.cli.main import build_app
from lognode.core.errors import ERRORS
from lognode.timeline.control.shown import FIELDS as CONTROL_KINDS
from tests.docs.document import ROOT, blocks_of, parse_blocks
from tests.docs.reader import Reader, matches

DOCUMENTS: Final = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES: Final = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
LAYERS: Final = "api|cli|client|core|engine|federation|identity|node|protocol|rules|service|settings|sim|timeline"


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_document_does_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [block for block in blocks_of(ROOT / name) if block.is_run]
    if not blocks:
        return
    with Reader(tmp_path, monkeypatch) as reader:
        for block in blocks:
            reader.run(block)


@pytest.mark.parametrize("name", NAMES)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    text = read(name)
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    missing = [target for target in links if not ((ROOT / name).parent / target).exists()]
    paths = re.findall(r"`((?:tests|docs|scripts|config|lognode)/[\w./-]+)`", text)

    assert missing == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_map_shows_every_module_and_no_other() -> None:
    shown = set(re.findall(rf"`((?:{LAYERS})/[\w/]+\.py)`", read("docs/ARCHITECTURE.md")))
    there = {str(path.relative_to(ROOT / "lognode")) for path in (ROOT / "lognode").rglob("*/*.py")}

    assert shown == {path for path in there if not path.endswith("__init__.py")}


def test_the_walks_name_what_is_there() -> None:
    names = set(re.findall(rf"`((?:{LAYERS})(?:\.\w+)+)`", read("docs/ARCHITECTURE.md")))

    for name in names - ERRORS.keys() - CONTROL_KINDS.keys() - {"settings.py"}:
        assert resolve(name) is not None


def resolve(name: str) -> Any:
    """The module, class or function called `name` below lognode."""
    module, *rest = name.split(".")
    found: Any = import_module(f"lognode.{module}")
    for part in rest:
        if not hasattr(found, part):
            import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def test_every_option_is_documented_with_its_command() -> None:
    shared, *sections = re.split(r"^## lognode ", read("docs/cli.md"), flags=re.MULTILINE)
    section_of = {section.partition("\n")[0]: section for section in sections}

    assert section_of.keys() == options_of(build_app()).keys()
    for command, options in options_of(build_app()).items():
        text = section_of[command] + shared
        assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)] == [], command


def options_of(app: App, *path: str) -> dict[str, set[str]]:
    """The options of every command."""
    found: dict[str, set[str]] = {}
    for name in app:
        if name.startswith("-"):
            continue
        below = options_of(app[name], *path, name)
        found |= below
        if not below or app[name].default_command:
            arguments = app[name].assemble_argument_collection()
            options = {option for argument in arguments for option in argument.names if option.startswith("-")}
            found[" ".join((*path, name))] = options
    return found


MATCHES: Final = {
    "the same": ("2 lines: 1 added", "2 lines: 1 added\r\n", True),
    "another number": ("2 lines: 1 added", "2 lines: 2 added\n", False),
    "any id, time, port and age": (
        "06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0 2026-11-23T09:20:12.308Z 127.0.0.1:7480   4s ago",
        "06h0fdw4nm17fp2khqjpbjxeb4nkh9pfpry1f08 2027-01-01T00:00:00.000Z 127.0.0.1:34567 12m ago\n",
        True,
    ),
    "no id": ("id 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0", "id none\n", False),
    "any text": ("error: ... [a.b]", "error: it was so [a.b]\n", True),
    "another code": ("error: ... [a.b]", "error: it was so [a.c]\n", False),
    "any lines": ("first\n...\nlast", "first\n1\n2\nlast\n", True),
    "a line too few": ("first\nlast", "first\n", False),
    "a line too many": ("first", "first\nlast\n", False),
    "silence": ("", "", True),
    "no silence": ("", "something\n", False),
}


@pytest.mark.parametrize("case", MATCHES)
def test_what_is_printed_is_compared_by_shape(case: str) -> None:
    shown, printed, is_match = MATCHES[case]

    assert matches(shown, printed) == is_match


WRONG_FENCES: Final = {
    "no word": "```\nls\n```\n",
    "an unknown word": "```bash\nls\n```\n",
    "an exception that does not exist": "```sh skip\nls\n```\n",
    "an exception for another language": "```python exit=1\n1\n```\n",
    "no end": "```sh\nls\n",
}


@pytest.mark.parametrize("case", WRONG_FENCES)
def test_a_fence_is_refused_with(case: str) -> None:
    with pytest.raises(AssertionError, match="sample"):
        list(parse_blocks("sample", WRONG_FENCES[case]))


WRONG_BLOCKS: Final = {
    "fails": "```sh\nfalse\n```\n",
    "fails in the middle of a pipe": "```sh\nfalse | cat\n```\n",
    "does not fail": "```sh exit=3\ntrue\n```\n",
    "prints something else": "```console\n$ echo one\ntwo\n```\n",
    "is silent": '```sh until="one"\ntrue\n```\n',
    "raises": "```python\n1 / 0\n```\n",
    "is run nowhere": '```sh elsewhere="tests/daemon.py"\nscripts/never\n```\n',
    "never said its last word": '```sh background until="a" finally="b"\necho a; sleep 0.3\n```\n',
}


@pytest.mark.parametrize("case", WRONG_BLOCKS)
def test_a_block_is_found_that(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = parse_blocks("sample", WRONG_BLOCKS[case])

    with (
        pytest.raises((AssertionError, pytest.fail.Exception, ZeroDivisionError)),
        Reader(tmp_path, monkeypatch, with_node=False) as reader,
    ):
        reader.run(block)
