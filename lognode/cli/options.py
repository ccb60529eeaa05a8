"""Options that many commands share, with what they mean: which node, which spans.

Flags win over the environment. Knows no output.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter, Token

from lognode.core.errors import CallerError
from lognode.settings import Settings, find_data_dir, load_settings

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.filter import Filter
    from lognode.client.place import Address

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Texts = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
# A value that may be - for stdin.
File = Annotated[str, Parameter(allow_leading_hyphen=True)]
# Below the commands and the options of one command alone.
SETTINGS_GROUP: Final = Group.create_ordered("Settings", sort_key=1)
LOOK_GROUP: Final = Group.create_ordered("How it looks", sort_key=1)
FILTER_GROUP: Final = Group.create_ordered("Which spans", sort_key=1)
NODE_GROUP: Final = Group.create_ordered("Which node", sort_key=1)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")


class Duration(timedelta):
    """A timedelta whose option's help says DURATION."""


def parse_duration(text: str) -> Duration:
    """The duration written as 90s, 30m, 2h, 3d or 1w. Raises ValueError, as cyclopts expects it from a converter."""
    duration = _DURATION.fullmatch(text)
    if duration is None:
        raise ValueError(f"{text!r:.80} is no duration; write 30m, 24h or 7d")
    return Duration(**{_UNITS[duration[2]]: int(duration[1])})


def duration(_type: Any, tokens: Sequence[Token]) -> Duration:
    """What converts an option to a duration, as cyclopts calls it. Raises ValueError."""
    return parse_duration(tokens[0].value)


def parse_moment(text: str, now: datetime) -> datetime:
    """A time from a duration before `now` (2h, 3d), a date or an RFC 3339 time; UTC where it names no offset.

    Raises ValueError, as cyclopts expects it from a converter.
    """
    duration = _DURATION.fullmatch(text)
    try:
        if duration is not None:
            return now - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r:.80} is no time; write 2h, 3d, 2026-01-31 or 2026-01-31T12:00:00Z") from None


def moment(_type: Any, tokens: Sequence[Token]) -> datetime:
    """What converts an option to a time, as cyclopts calls it. Raises ValueError."""
    return parse_moment(tokens[0].value, datetime.now(UTC))


def _path(_type: Any, tokens: Sequence[Token]) -> Path:
    # Path("") is the current directory, and what an unset variable of the shell leaves is meant for none.
    if not tokens[0].value:
        raise ValueError("the path is empty")
    return Path(tokens[0].value)


def read_file(path: Path) -> bytes | None:
    """The bytes of a settings file, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


PathOption = Annotated[Path | None, Parameter(converter=_path)]
DataDir = Annotated[
    Path | None,
    Parameter(
        group=NODE_GROUP,
        converter=_path,
        help="Where the node keeps its files (LOGNODE_DATA_DIR; default: ~/.local/share/lognode).",
    ),
]
Json = Annotated[Flag, Parameter(group=NODE_GROUP, help="Answer as JSON, errors too.")]


@Parameter(name="*", group=SETTINGS_GROUP)
@dataclass(frozen=True, kw_only=True)
class Flags:
    """Settings of a node, as options; LOGNODE_<NAME> and the settings file say the same."""

    api: Annotated[bool | None, Parameter(negative="--no-api")] = None
    """Whether the node answers requests at all."""
    listen: str | None = None
    """Loopback address and port of the API, 127.0.0.1:7480 by default; port 0 takes a free one."""
    unix_socket: PathOption = None
    """Unix socket for the API besides."""
    config: PathOption = None
    """Settings file; lognode.toml in the data directory by default."""
    allowed_hosts: str | None = None
    """Host names that requests may carry besides loopback ones, with commas between them."""
    federation: Annotated[bool | None, Parameter(negative="--no-federation")] = None
    """Whether the node has to do with other nodes at all."""
    peer_listen: str | None = None
    """Address and port for members, 0.0.0.0:7481 by default, once there is one or an invite."""
    join_listen: str | None = None
    """Address and port for nodes that were invited, 0.0.0.0:7482 by default, while an invite is valid."""
    advertise: str | None = None
    """Addresses that other nodes are told in place of those of the interfaces, HOST:PORT with commas between them."""
    discovery: Annotated[bool | None, Parameter(negative="--no-discovery")] = None
    """Whether the node finds others, and is found, by multicast once it has or seeks company."""
    peers: str | None = None
    """Addresses of other nodes, HOST:PORT with commas between them, for where multicast does not reach."""
    mirror_dir: PathOption = None
    """Directory in which all spans are kept as NDJSON files besides."""
    search: str | None = None
    """Tenants that are searched by full text, with commas between them."""
    webhooks: str | None = None
    """Webhooks that tasks may call, NAME=URL with commas between them."""
    webhook_allow: str | None = None
    """Networks and host names that webhooks may reach besides public addresses, with commas between them."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """How much the log on stderr tells."""
    log_format: Literal["auto", "text", "json"] | None = None
    """How the log is written; auto is json where systemd's journal takes it, else text."""


NO_FLAGS: Final = Flags()


@Parameter(name="*", group=NODE_GROUP)
@dataclass(frozen=True, kw_only=True)
class Target:
    """The node and tenant that a command talks to, and the form of its answer."""

    data_dir: PathOption = None
    """Data directory of a node on this machine (LOGNODE_DATA_DIR; default: ~/.local/share/lognode)."""
    url: str | None = None
    """URL of a node, http://HOST:PORT or unix:/PATH (LOGNODE_URL); default: the one in the data directory."""
    token_file: PathOption = None
    """File that holds the token (LOGNODE_TOKEN_FILE); default: admin.token in the data directory."""
    tenant: str | None = None
    """Tenant by id or name (LOGNODE_TENANT; default: default)."""
    json: Flag = False
    """Answer as JSON, errors too."""

    def settings(self, **flags: object) -> Settings:
        """The settings of a daemon on the data directory, with these flags."""
        return load_settings({"data_dir": self.data_dir, **flags}, os.environ, read_file, Path.resolve)

    def directory(self) -> Path:
        """The data directory, whatever else is wrong with its settings."""
        return find_data_dir({"data_dir": self.data_dir}, os.environ, read_file)

    def address(self) -> "Address":
        """Where the node is. A data directory given as a flag wins over a URL and a token of the environment."""
        from lognode.client.place import Address

        environ = {} if self.data_dir else os.environ
        url = self.url or environ.get("LOGNODE_URL") or None
        token_file = self.token_file or _optional_path(environ.get("LOGNODE_TOKEN_FILE"))
        # The token of the default data directory is for the node there, not for any URL.
        if url and not self.data_dir and not os.environ.get("LOGNODE_DATA_DIR"):
            return Address(url=url, token_file=token_file)
        return Address(self.directory(), url, token_file)

    def tenant_name(self) -> str:
        """The tenant's id or name."""
        return self.tenant or os.environ.get("LOGNODE_TENANT") or "default"

    def client(self) -> "Client":
        """A client of this node and tenant."""
        from lognode.client import Client

        return Client(self.address(), tenant=self.tenant_name())


@Parameter(name="*", group=FILTER_GROUP)
@dataclass(frozen=True, kw_only=True)
class Which:
    """The spans that a command is about."""

    kind: Texts = ()
    """Of this kind, or below it as in order.*; again for any of several."""
    tag: Texts = ()
    """With this tag; again for spans that have all of them."""
    actor: str | None = None
    """By this LogLine ID."""
    subject: str | None = None
    """About this subject."""
    status: Literal["executed", "simulated"] | None = None
    """With this status."""
    visibility: Literal["private", "organization", "public"] | None = None
    """With this visibility."""
    since: Annotated[datetime | None, Parameter(converter=moment)] = None
    """From this time on: 2h or 3d ago, a date, or an RFC 3339 time (UTC unless it says otherwise)."""
    until: Annotated[datetime | None, Parameter(converter=moment)] = None
    """Before this time."""
    caused_by: str | None = None
    """Caused by the span with this id."""
    origin: str | None = None
    """A copy of the span with this id: imported, from a bundle, or replayed."""
    contract: str | None = None
    """With this contract id."""
    workflow: str | None = None
    """With this workflow id."""
    flow: str | None = None
    """With this flow id."""
    text: str | None = None
    """With these words, where full text is on."""
    known_by: str | None = None
    """What this node, by its LogLine ID or the beginning of its key, knew when it wrote the span of --at, or last
    before that."""
    at: str | None = None
    """The id of a span, with --known-by."""

    no_merges: Flag = False
    """Without the merges that nodes write by themselves."""

    def filter(self, order: Literal["timeline", "arrival"] = "timeline") -> "Filter":
        """The client's filter."""
        from lognode.client.filter import Filter

        if (self.known_by is None) != (self.at is None):
            raise CallerError("usage.invalid", "--known-by says which node, --at by which span: give both")
        return Filter(
            kinds=self.kind,
            tags=self.tag,
            actor=self.actor,
            subject=self.subject,
            status=self.status,
            visibility=self.visibility,
            since=self.since,
            until=self.until,
            caused_by=self.caused_by,
            origin=self.origin,
            contract=self.contract,
            workflow=self.workflow,
            flow=self.flow,
            text=self.text,
            known_by=self.known_by,
            at=self.at,
            merges=not self.no_merges,
            order=order,
        )


Color = Annotated[
    Literal["auto", "always", "never"],
    Parameter(group=LOOK_GROUP, help="Colours; auto as NO_COLOR, FORCE_COLOR, CLICOLOR and the terminal say."),
]


@Parameter(name="*", group=LOOK_GROUP)
@dataclass(frozen=True, kw_only=True)
class Look:
    """The form in which spans are shown."""

    format: Literal["text", "json", "tsv"] | None = None
    """Columns (text, the default on a terminal), one JSON object a line (json, the default elsewhere), or tsv."""
    fields: str | None = None
    """Only these, as tsv or in JSON: names such as id,at,data.amount; tsv has id,at,kind,title by default."""
    time: Literal["relative", "clock", "local", "utc"] | None = None
    """Times in columns: as an age, a time of day, or a date and time here or in UTC."""
    color: Color = "auto"


HERE: Final = Target()
ALL: Final = Which()
USUAL: Final = Look()


def _optional_path(text: str | None) -> Path | None:
    return Path(text) if text else None
