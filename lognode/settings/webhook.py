"""Webhooks in the settings: their names, URLs and secret files, and whom besides the public they may reach.

Pure. A secret itself is never a setting, so that nothing which shows settings shows one.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final, NamedTuple

from lognode.core.limits import WEBHOOK_URL_CHARS_MAX, WEBHOOKS_MAX
from lognode.settings.value import Given, read_names

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_KEYS: Final = ("url", "secret_file")
_TAKES: Final = (
    "tables [webhooks.NAME] with url and, if not the usual one, secret_file; or NAME=URL with commas between them"
)


class Webhook(NamedTuple):
    """A webhook as it was given; None: its secret is where such secrets usually are."""

    name: str
    url: str
    secret_file: Path | None = None


def read_webhooks(given: Given) -> tuple[Webhook, ...]:
    """Webhooks from tables, or from texts NAME=URL, which are all that a variable can hold."""
    if isinstance(given.value, Mapping):
        found = tuple(_from_table(given, str(name), table) for name, table in sorted(given.value.items()))
    else:
        found = tuple(_from_text(given, text) for text in read_names(given))
    if len(found) > WEBHOOKS_MAX or len({hook.name for hook in found}) < len(found):
        raise given.refused(f"at most {WEBHOOKS_MAX} webhooks, each once")
    return found


def read_allowed(given: Given) -> tuple[str, ...]:
    """Networks, addresses or host names."""
    texts = tuple(text.lower() for text in read_names(given))
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            if not _HOST.fullmatch(text) or text.rpartition(".")[2].isdigit():
                raise given.refused("networks such as 10.0.0.0/8, addresses, or host names") from None
    return texts


def _from_table(given: Given, name: str, table: object) -> Webhook:
    if not isinstance(table, Mapping) or not {"url"} <= table.keys() <= set(_KEYS) or not isinstance(table["url"], str):
        raise given.refused(_TAKES)
    secret_file = table.get("secret_file")
    if secret_file is not None and not (isinstance(secret_file, str) and secret_file and "\0" not in secret_file):
        raise given.refused("secret_file as a path")
    return _checked(given, Webhook(name, table["url"], None if secret_file is None else given.base / secret_file))


def _from_text(given: Given, text: str) -> Webhook:
    name, equals, url = text.partition("=")
    if not equals:
        raise given.refused(_TAKES)
    return _checked(given, Webhook(name.strip(), url.strip()))


def _checked(given: Given, hook: Webhook) -> Webhook:
    if not _NAME.fullmatch(hook.name) or hook.name == "journal":
        raise given.refused("names of a-z, 0-9 and - that are not 'journal'")
    if len(hook.url) > WEBHOOK_URL_CHARS_MAX or not _URL.fullmatch(hook.url):
        raise given.refused("URLs that begin with http:// or https://")
    return hook
