"""What `lognode config` shows and finds, in files as people write them."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from lognode.cli.options import Flags
from lognode.settings import Settings
from tests.cli.lognode_command import Lognode
from tests.test_hostile_settings import HOSTILE_VALUES


@pytest.fixture
def lognode(tmp_path: Path) -> Lognode:
    return Lognode(tmp_path)


def test_every_setting_is_an_option_of_up_and_config() -> None:
    options = {field.name for field in fields(Flags)} | {"data_dir"}

    assert options == {field.name for field in fields(Settings)} | {"config"}


def test_what_config_show_prints_is_a_file_that_says_the_same(lognode: Lognode, tmp_path: Path) -> None:
    settings = (
        *("--log-level", "debug", "--search", "a,b", "--unix-socket", "api.sock"),
        "--listen",
        "[::1]:0",
        "--webhooks",
        "ops=https://x.example/?a=b",
        "--webhook-allow",
        "10.0.0.0/8",
    )
    data_dir = tmp_path / 'a "quoted" \\ directory\u202e'
    data_dir.mkdir()

    shown = lognode.text("config", "show", "--data-dir", str(data_dir), *settings)

    assert tomllib.loads(shown)["unix_socket"] == str(tmp_path / "api.sock")
    for file in (tmp_path / "elsewhere.toml", data_dir / "lognode.toml"):
        file.write_text(shown)
        assert lognode.text("config", "check", str(file)) == f"{file}: fine".replace("\u202e", "\\u202e")
    assert lognode.text("config", "show", "--config", "elsewhere.toml") == shown
    # In the directory itself its name is a comment, so that the node can be moved and restored elsewhere.
    assert lognode.text("config", "show", "--data-dir", str(data_dir)) == f"# {shown}"
    assert lognode.text("config", "show", "--data-dir", data_dir.name) == f"# {shown}"


def test_config_show_says_where_each_value_comes_from(lognode: Lognode, tmp_path: Path) -> None:
    file = tmp_path / ".config/lognode/lognode.toml"
    file.parent.mkdir(parents=True)
    file.write_text('# how much\n\nlog_level = "debug"\n')
    command = ("config", "show", "--origin", "--listen", "127.0.0.1:0")

    lines = lognode.run(*command, environ={"LOGNODE_SEARCH": "x"}).stdout.decode().splitlines()
    told = json.loads(lognode.run(*command, "--json", environ={"LOGNODE_SEARCH": "x"}).stdout)

    assert f'log_level = "debug"  # {file}:3' in lines
    assert 'listen = "127.0.0.1:0"  # --listen' in lines
    assert 'search = ["x"]  # LOGNODE_SEARCH' in lines
    assert "# unix_socket =  # default" in lines
    assert told["settings"]["log_level"] == "debug"
    assert told["origins"]["log_level"] == {"source": "file", "name": str(file), "line": 3}
    assert told["origins"]["log_format"] == {"source": "default", "name": None, "line": None}


def test_config_check_says_everything_that_is_wrong_and_exits_with_2(lognode: Lognode, tmp_path: Path) -> None:
    file = tmp_path / "lognode.toml"
    file.write_text('listn = "127.0.0.1:1"\nlog_level = loud\n\nlog_format = "xml"\n')

    done = lognode.run("config", "check", "lognode.toml")
    told = lognode.run("config", "check", "lognode.toml", "--json")

    assert (done.returncode, done.stderr) == (2, b"")
    assert done.stdout.decode().splitlines() == [
        "lognode.toml:1: 'listn' is not a setting; did you mean 'listen'? [settings.unknown]",
        "lognode.toml:2: log_level: not TOML: this is no value; text needs quotes [settings.invalid]",
        "lognode.toml:4: log_format: 'xml' given, but it takes one of auto, text, json [settings.invalid]",
    ]
    answer = json.loads(told.stdout)
    assert (told.returncode, answer["ok"], answer["files"]) == (2, False, ["lognode.toml"])
    assert answer["problems"][0] == {
        "code": "settings.unknown",
        "place": "lognode.toml:1",
        "file": "lognode.toml",
        "line": 1,
        "key": "listn",
        "suggestion": "listen",
        "detail": "'listn' is not a setting; did you mean 'listen'?",
    }


@pytest.mark.parametrize(("toml", "code", "said"), HOSTILE_VALUES)
def test_config_check_bears_files_that_nobody_would_write(
    lognode: Lognode, tmp_path: Path, toml: str, code: str, said: str
) -> None:
    (tmp_path / "lognode.toml").write_text(f"\n{toml}")

    done = lognode.run("config", "check", "lognode.toml")

    assert (done.returncode, done.stderr) == (2, b"")
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith("lognode.toml:2: ")
    assert said in line
    assert line.endswith(f"[{code}]")


def test_config_check_without_a_file_checks_what_up_would_read(lognode: Lognode, tmp_path: Path) -> None:
    usual = f"{tmp_path}/.config/lognode/lognode.toml", f"{tmp_path}/.local/share/lognode/lognode.toml"

    assert lognode.text("config", "check").splitlines() == [f"{file}: not there, which is fine" for file in usual]
    assert lognode.run("config", "check", environ={"LOGNODE_LISTEN": "x"}).returncode == 2
    assert lognode.run("config", "check", "--listen", "0.0.0.0:80").returncode == 2


def test_a_settings_file_that_was_named_must_be_there(lognode: Lognode) -> None:
    for command in (["config", "check", "none.toml"], ["config", "show", "--config", "none.toml"]):
        done = lognode.run(*command)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"none.toml: there is no such file [file.unreadable]" in done.stderr


def test_a_node_is_found_while_its_settings_are_being_mended(lognode: Lognode, tmp_path: Path) -> None:
    node = lognode.text("init").split()[2]
    (tmp_path / ".local/share/lognode/lognode.toml").write_text("log_level = loud")

    assert lognode.text("id", "show") == node
    assert lognode.run("up").returncode == 2
