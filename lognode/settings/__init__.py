"""What a node was told to do, from flags, environment and files, as one frozen value.

Knows no file system and no process: the environment and a way to read a file are handed in. A setting is
one line of `Settings` in settings/settings.py; config/lognode.toml describes it to people. Invariant: what is
not understood is an error that names its place, never passed over.
"""

from lognode.settings.settings import Settings
from lognode.settings.sources import Check, Loaded, check_settings, find_data_dir, load_settings, trace_settings
from lognode.settings.value import Listen, Origin, parse_bind, parse_listen

__all__ = [
    "Check",
    "Listen",
    "Loaded",
    "Origin",
    "Settings",
    "check_settings",
    "find_data_dir",
    "load_settings",
    "parse_bind",
    "parse_listen",
    "trace_settings",
]
