"""The settings of a node: each with its type, what reads it, and its default.

To add one: a line here, a paragraph in config/lognode.toml, and an option in `cli.options.Flags`. Tests hold
the three together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, get_type_hints

from lognode.settings.value import (
    LOG_FORMATS,
    LOG_LEVELS,
    Reader,
    one_of,
    read_advertised,
    read_bind,
    read_hosts,
    read_listen,
    read_names,
    read_path,
    read_places,
    read_socket_path,
    read_switch,
)
from lognode.settings.webhook import Webhook, read_allowed, read_webhooks


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node runs with."""

    data_dir: Annotated[Path, read_path]
    api: Annotated[bool, read_switch] = True
    listen: Annotated[str, read_listen] = "127.0.0.1:7480"
    unix_socket: Annotated[Path | None, read_socket_path] = None
    allowed_hosts: Annotated[tuple[str, ...], read_hosts] = ()
    federation: Annotated[bool, read_switch] = True
    peer_listen: Annotated[str, read_bind] = "0.0.0.0:7481"
    join_listen: Annotated[str, read_bind] = "0.0.0.0:7482"
    advertise: Annotated[tuple[str, ...], read_advertised] = ()
    discovery: Annotated[bool, read_switch] = True
    peers: Annotated[tuple[str, ...], read_places] = ()
    mirror_dir: Annotated[Path | None, read_path] = None
    search: Annotated[tuple[str, ...], read_names] = ()
    webhooks: Annotated[tuple[Webhook, ...], read_webhooks] = ()
    webhook_allow: Annotated[tuple[str, ...], read_allowed] = ()
    log_level: Annotated[str, one_of(*LOG_LEVELS)] = "info"
    log_format: Annotated[str, one_of(*LOG_FORMATS)] = "auto"


READERS: Final[Mapping[str, Reader]] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Settings, include_extras=True).items()
}
