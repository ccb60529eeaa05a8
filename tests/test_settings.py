"""Where settings come from, which source wins, and what a mistake in one says."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from posixpath import normpath
from typing import Final

import pytest

from lognode.core.errors import CallerError
from lognode.settings import (
    Listen,
    Settings,
    check_settings,
    find_data_dir,
    load_settings,
    parse_listen,
    trace_settings,
)
from lognode.settings.toml import MISTAKES_MAX

HOME = {"HOME": "/home/ada"}
FILE = Path("/etc/lognode.toml")
USERS_FILE = Path("/home/ada/.config/lognode/lognode.toml")


def reader(files: Mapping[Path, bytes]) -> Callable[[Path], bytes | None]:
    return files.get


def load(
    toml: str = "", *, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Settings:
    return load_settings({"config": FILE, **(flags or {})}, {**HOME, **(environ or {})}, reader({FILE: toml.encode()}))


def refusal(toml: str = "", **sources: Mapping[str, str]) -> CallerError:
    with pytest.raises(CallerError) as caught:
        load(toml, **sources)
    return caught.value


def test_without_any_source_the_defaults_hold() -> None:
    settings = load_settings({}, HOME, reader({}))

    assert settings == Settings(data_dir=Path("/home/ada/.local/share/lognode"))
    assert settings.listen == "127.0.0.1:7480"


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() -> None:
    toml = 'log_level = "debug"'
    environ = {"LOGNODE_LOG_LEVEL": "warning"}
    flags = {"log_level": "error"}

    assert load().log_level == "info"
    assert load(toml).log_level == "debug"
    assert load(toml, environ=environ).log_level == "warning"
    assert load(toml, environ=environ, flags=flags).log_level == "error"


def test_a_flag_that_is_not_given_and_an_empty_variable_leave_the_file_alone() -> None:
    assert load('listen = "[::1]:0"', environ={"LOGNODE_LISTEN": ""}, flags={"listen": None}).listen == "[::1]:0"


def test_the_file_in_the_data_directory_is_read_when_no_other_is_named() -> None:
    files = {Path("/d/lognode.toml"): b'log_format = "json"', FILE: b'log_format = "text"\nlog_level = "debug"'}

    assert load_settings({"data_dir": "/d"}, HOME, reader(files)).log_format == "json"
    assert load_settings({}, {"LOGNODE_DATA_DIR": "/d"}, reader(files)).log_format == "json"
    assert load_settings({}, {"LOGNODE_CONFIG": str(FILE), **HOME}, reader(files)).log_level == "debug"


def test_a_named_file_may_name_the_data_directory_and_then_needs_no_home() -> None:
    settings = load_settings({"config": FILE}, {}, reader({FILE: b'data_dir = "/srv/lognode"'}))

    assert settings.data_dir == Path("/srv/lognode")


def test_the_file_in_the_data_directory_cannot_name_another_one() -> None:
    with pytest.raises(CallerError, match="cannot name another one") as caught:
        load_settings({"data_dir": "/d"}, {}, reader({Path("/d/lognode.toml"): b'\ndata_dir = "/e"'}))

    assert (caught.value.code, caught.value.place) == ("settings.invalid", "/d/lognode.toml:2")
    itself = {Path("/d/lognode.toml"): b'data_dir = "/d"'}
    assert load_settings({"data_dir": "/d"}, {}, reader(itself)) == Settings(data_dir=Path("/d"))


@pytest.mark.parametrize("named", ["/srv/d", "/srv/link", ".", "../d", "/srv//d/"])
@pytest.mark.parametrize("given", ["/srv/d", "d", "./d", "link"])
def test_the_file_in_the_data_directory_may_name_it_by_any_of_its_names(given: str, named: str) -> None:
    def resolve(path: Path) -> Path:
        return Path(normpath(str("/srv" / path).replace("link", "d")))

    files = {Path(given) / "lognode.toml": f"data_dir = '{named}'".encode()}
    assert load_settings({"data_dir": given}, HOME, reader(files), resolve) == Settings(data_dir=Path(given))
    files = {Path(given) / "lognode.toml": f"data_dir = '{named}/e'".encode()}
    with pytest.raises(CallerError, match="cannot name another one"):
        load_settings({"data_dir": given}, HOME, reader(files), resolve)


def test_a_relative_path_counts_from_its_file_or_else_from_where_the_command_was_given() -> None:
    assert load('unix_socket = "api.sock"').unix_socket == Path("/etc/api.sock")
    assert load(flags={"unix_socket": "api.sock"}).unix_socket == Path("api.sock")


def test_names_are_an_array_in_the_file_and_have_commas_in_a_variable() -> None:
    assert load('search = ["default", "x"]').search == ("default", "x")
    assert load(environ={"LOGNODE_SEARCH": "default, x"}).search == ("default", "x")
    assert load(environ={"LOGNODE_ALLOWED_HOSTS": "Node.Example"}).allowed_hosts == ("node.example",)
    assert load(environ={"LOGNODE_PEER_LISTEN": "[::]:0"}).peer_listen == "[::]:0"
    assert load('join_listen = "localhost:7482"').join_listen == "localhost:7482"
    assert load('advertise = ["node.example:7481"]').advertise == ("node.example:7481",)
    peers = ("node.example:7481", "192.0.2.7:1", "[2001:db8::7]:65535")
    assert load(environ={"LOGNODE_PEERS": ", ".join(peers)}).peers == peers


@pytest.mark.parametrize(
    ("toml", "place", "advice"),
    [
        ('\n# listen\nlistn = "127.0.0.1:1"', "/etc/lognode.toml:3", "did you mean 'listen'?"),
        ('log_level = "info"\n"log-format" = "json"', "/etc/lognode.toml:2", "did you mean 'log_format'?"),
        ('[search]\nx = 1\n[web]\nlisten = ""', "/etc/lognode.toml:3", "'web' is not a setting"),
        ('web.listen = ""', "/etc/lognode.toml:1", "'web' is not a setting"),
    ],
)
def test_an_unknown_name_in_the_file_is_refused_with_its_line_and_the_nearest_name(
    toml: str, place: str, advice: str
) -> None:
    error = refusal(toml)

    assert (error.code, error.place) == ("settings.unknown", place)
    assert advice in error.detail


def test_an_unknown_variable_is_refused_with_the_nearest_one() -> None:
    error = refusal(environ={"LOGNODE_LISTN": "127.0.0.1:1"})

    assert (error.code, error.place) == ("settings.unknown", "LOGNODE_LISTN")
    assert "did you mean 'LOGNODE_LISTEN'?" in error.detail


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(CallerError, match="did you mean 'data_dir'"):
        load(flags={"datadir": "/d"})


def test_variables_that_serve_other_purposes_are_no_settings() -> None:
    other = ("LOGNODE_KEY_PASSPHRASE_FILE", "LOGNODE_TENANT", "LOGNODE_TOKEN_FILE", "LOGNODE_URL")

    assert load(environ=dict.fromkeys(other, "x")) == load()


def test_a_switch_is_a_boolean_or_a_word_of_a_variable() -> None:
    assert load().api
    assert not load(environ={"LOGNODE_API": "false"}).api
    with pytest.raises(CallerError, match="true or false"):
        load(environ={"LOGNODE_API": "no"})


@pytest.mark.parametrize(
    ("toml", "code", "detail"),
    [
        ('log_level = "loud"', "settings.invalid", "one of debug, info, warning, error"),
        ("log_format = 3", "settings.invalid", "one of auto, text, json"),
        ("listen = 7480", "settings.invalid", "takes text"),
        ('listen = ""', "settings.invalid", "takes text"),
        ('listen = "127.0.0.1"', "listen.invalid", "HOST:PORT"),
        ('search = "a"\nallowed_hosts = [1]', "settings.invalid", "names"),
        ('allowed_hosts = ["http://node.example/"]', "settings.invalid", "without scheme"),
        ('peers = ["node.example"]', "settings.invalid", "HOST:PORT"),
        ('peer_listen = "7481"', "listen.invalid", "HOST:PORT"),
        ('peer_listen = "::1:7481"', "listen.invalid", "brackets"),
        ('peer_listen = "node.example:7481"', "listen.invalid", "no IP address"),
        ('join_listen = "0.0.0.0:65536"', "listen.invalid", "HOST:PORT"),
        ('advertise = ["0.0.0.0:0"]', "settings.invalid", "HOST:PORT"),
        (f"advertise = {['n.example:1'] * 9}", "settings.invalid", "at most 8"),
        ('peers = ["2001:db8::7:7481"]', "settings.invalid", "HOST:PORT"),
        ('peers = ["300.1.1.1:7481"]', "settings.invalid", "HOST:PORT"),
        ('peers = ["[192.0.2.1]:7481"]', "settings.invalid", "HOST:PORT"),
        ('peers = ["node.example:0"]', "settings.invalid", "HOST:PORT"),
        ("api = 1", "settings.invalid", "true or false"),
        ('unix_socket = "~/api.sock"', "settings.invalid", "written out"),
        (f'unix_socket = "/{"x" * 107}"', "settings.invalid", "at most 107 bytes"),
        ('unix_socket = "/tmp/a\\u0000b"', "settings.invalid", "without a zero byte"),
        ('mirror_dir = "\\u0000"', "settings.invalid", "without a zero byte"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(toml: str, code: str, detail: str) -> None:
    error = refusal(toml)

    assert error.code == code
    assert detail in error.detail
    assert error.place == f"/etc/lognode.toml:{len(toml.splitlines())}"


def test_a_variable_need_not_be_unicode() -> None:
    assert load(environ={"LOGNODE_UNIX_SOCKET": "/\udcff"}).unix_socket == Path("/\udcff")


def test_a_file_that_is_not_toml_is_refused_with_the_line() -> None:
    error = refusal('log_level = "info"\n= 3\n')

    assert (error.detail, error.place) == ("not TOML: Invalid statement", "/etc/lognode.toml:2")
    assert "a second time" in refusal('log_level = "info"\nlog_level = "info"').detail
    with pytest.raises(CallerError, match="not a TOML file"):
        load_settings({"config": FILE}, HOME, reader({FILE: b"\xff"}))


def test_a_named_file_that_is_missing_or_closed_to_us_is_refused() -> None:
    def closed(path: Path) -> bytes | None:
        raise PermissionError(13, "Permission denied", str(path))

    for read_file, reason in ((reader({}), "no such file"), (closed, "Permission denied")):
        with pytest.raises(CallerError, match=reason) as caught:
            load_settings({"config": FILE}, HOME, read_file)
        assert caught.value.code == "file.unreadable"


def data_dir(environ: Mapping[str, str]) -> Path:
    return find_data_dir({}, environ, reader({}))


def test_the_default_data_directory_follows_the_xdg_specification() -> None:
    assert data_dir({"XDG_DATA_HOME": "/x", **HOME}) == Path("/x/lognode")
    assert data_dir({"XDG_DATA_HOME": "relative", **HOME}) == Path("/home/ada/.local/share/lognode")
    with pytest.raises(CallerError, match="--data-dir"):
        data_dir({})


def test_a_service_keeps_data_and_settings_where_systemd_made_directories_for_it() -> None:
    service = {"STATE_DIRECTORY": "/var/lib/lognode", "CONFIGURATION_DIRECTORY": "/etc/lognode"}
    files = {Path("/etc/lognode/lognode.toml"): b'log_format = "json"'}

    for environ in (service, {**service, **HOME, "XDG_DATA_HOME": "/x", "XDG_CONFIG_HOME": "/y"}):
        settings = load_settings({}, environ, reader(files))
        assert (settings.data_dir, settings.log_format) == (Path("/var/lib/lognode"), "json")
    assert data_dir({"STATE_DIRECTORY": "/var/lib/lognode:/var/lib/other"}) == Path("/var/lib/lognode")
    assert data_dir({**service, "LOGNODE_DATA_DIR": "/d"}) == Path("/d")
    assert data_dir({"STATE_DIRECTORY": "", **HOME}) == Path("/home/ada/.local/share/lognode")


def test_the_file_of_the_data_directory_wins_over_the_one_of_the_user() -> None:
    users = b'log_level = "debug"\nlog_format = "json"\ndata_dir = "/d"'
    files = {Path("/d/lognode.toml"): b'log_level = "error"', USERS_FILE: users}

    settings = load_settings({}, HOME, reader(files))

    assert settings == Settings(data_dir=Path("/d"), log_level="error", log_format="json")
    moved = {Path("/c/lognode/lognode.toml"): users}
    assert load_settings({}, {**HOME, "XDG_CONFIG_HOME": "/c"}, reader(moved)).log_level == "debug"


def test_a_named_file_is_the_only_one() -> None:
    files = {USERS_FILE: b'log_level = "debug"', FILE: b'log_format = "json"'}

    assert load_settings({"config": FILE}, HOME, reader(files)).log_level == "info"


def test_every_value_knows_where_it_comes_from() -> None:
    files = {
        USERS_FILE: b"# mine\n\nsearch = [\n  'x',\n]\n\nlog_level = 'debug'",
        Path("/x/lognode/lognode.toml"): b'"log_level" = "error"',
    }
    environ = {**HOME, "XDG_DATA_HOME": "/x", "LOGNODE_LOG_FORMAT": "json"}

    loaded = trace_settings({"listen": "localhost:1"}, environ, reader(files))

    assert {name: str(origin) for name, origin in loaded.origins.items() if origin.source != "default"} == {
        "data_dir": "XDG_DATA_HOME",
        "listen": "--listen",
        "search": f"{USERS_FILE}:3",
        "log_level": "/x/lognode/lognode.toml:1",
        "log_format": "LOGNODE_LOG_FORMAT",
    }
    assert loaded.origins["search"].source == "file"
    assert loaded.origins.keys() == {field.name for field in fields(Settings)}


def test_a_data_directory_is_found_while_its_files_are_being_mended() -> None:
    for rest in (b"listn = 1", b"log_level = loud", b"log_level = 3"):
        files = {USERS_FILE: b'data_dir = "/d"\n' + rest, Path("/d/lognode.toml"): b"= 3"}
        assert find_data_dir({}, HOME, reader(files)) == Path("/d")
    for doubtful in (b"data_dir = /d", b"data_dri = '/d'", b"data_dir = 3"):
        with pytest.raises(CallerError):
            find_data_dir({}, HOME, reader({USERS_FILE: doubtful}))


MISTAKES: Final = b"""\
listn = "127.0.0.1:1"
log_level = loud
unix_socket = \"\"\"
search = [1]
\"\"\"
allowed_hosts = [
  1,
]
search = ["a",
log_format = "xml"
[log]
level = "debug"
[log]
listen = "0.0.0.0:80"
"""


def test_a_check_finds_everything_that_is_wrong_in_a_file_at_once() -> None:
    check = check_settings({"config": FILE}, {}, reader({FILE: MISTAKES}))

    assert [(error.extra["line"], error.extra.get("key"), error.code) for error in check.problems] == [
        (1, "listn", "settings.unknown"),
        (2, "log_level", "settings.invalid"),
        (6, "allowed_hosts", "settings.invalid"),
        (9, "search", "settings.invalid"),
        (11, "log", "settings.unknown"),
        (13, None, "settings.invalid"),
    ]
    assert check.problems[0].extra["suggestion"] == "listen"
    assert "takes names" in check.problems[2].detail


@pytest.mark.parametrize("unclosed", ['search = ["a"', 'search = """a', "search = '''a", "[log", 'search = "a'])
def test_what_stands_before_something_unclosed_is_checked_too(unclosed: str) -> None:
    raw = f'log_level = 3\r\n\r\n{unclosed}\r\nlisten = "127.0.0.1:1"\r\n'.encode()

    check = check_settings({"config": FILE}, {}, reader({FILE: raw}))

    assert [error.extra["line"] for error in check.problems] == [1, 3]


def test_a_check_of_what_a_start_would_read_finds_mistakes_that_a_better_source_hides() -> None:
    files = {Path("/d/lognode.toml"): b'log_level = "loud"\ndata_dir = "/e"'}
    environ = {**HOME, "LOGNODE_DATA_DIR": "/d", "LOGNODE_LOG_LEVEL": "info", "LOGNODE_LISTN": "x"}

    check = check_settings({"log_format": "xml"}, environ, reader(files))

    places = ["LOGNODE_LISTN", "--log-format", "/d/lognode.toml:1", "/d/lognode.toml:2"]
    assert [error.place for error in check.problems] == places
    assert check.found == (Path("/d/lognode.toml"),)
    assert check.files == (USERS_FILE, Path("/d/lognode.toml"))


def test_a_data_directory_that_cannot_be_is_one_problem_of_the_check() -> None:
    check = check_settings({"listen": ""}, {**HOME, "LOGNODE_DATA_DIR": "~/d"}, reader({}))

    assert [error.place for error in check.problems] == ["LOGNODE_DATA_DIR", "--listen"]


def test_a_check_of_a_file_with_endless_mistakes_ends() -> None:
    check = check_settings({"config": FILE}, {}, reader({FILE: b"=\n" * 1000}))

    assert len(check.problems) == MISTAKES_MAX


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:7480", Listen("127.0.0.1", 7480)),
        ("127.8.9.1:0", Listen("127.8.9.1", 0)),
        ("[::1]:65535", Listen("::1", 65535)),
        ("localhost:80", Listen("localhost", 80)),
    ],
)
def test_a_loopback_address_and_port_are_taken(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    "text",
    ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣", "::1:80"],
)
def test_what_is_not_an_address_and_port_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_listen(text)
    assert caught.value.code == "listen.invalid"


@pytest.mark.parametrize("text", ["0.0.0.0:7480", "192.168.1.2:7480", "[::]:7480", "node.example:7480"])
def test_an_address_that_others_can_reach_is_refused_since_the_api_is_plain_http(text: str) -> None:
    with pytest.raises(CallerError, match="TLS proxy"):
        parse_listen(text)


def test_the_documented_file_shows_every_default() -> None:
    """Without its comment signs config/lognode.toml is a file that changes nothing but the paths."""
    text = Path(__file__).parent.joinpath("../config/lognode.toml").read_text()
    shown = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line)
    documented = tomllib.loads(shown)
    defaults = {field.name: field.default for field in fields(Settings)}

    assert documented.keys() == defaults.keys()
    for name, value in documented.items():
        if defaults[name] not in (MISSING, None):
            assert (tuple(value) if isinstance(value, list) else value) == defaults[name]
    assert isinstance(load(shown), Settings)
    assert load(text) == load()
