"""A sandbox like the one that the unit asks systemd for, built with bubblewrap from the unit's own directives.

Invariant: every directive of [Service] is either exercised here, or listed with the reason why not. A new line in
the unit that is neither fails the test.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from tests.service import seccomp
from tests.service.units import ROOT, SERVICE, directives, value, values

# What the tests start the command with, or judge elsewhere (tests/service/test_service.py, test_units.py).
STARTED_WITH: Final = frozenset(
    "Type NotifyAccess ExecStart ExecReload WatchdogSec RestartPreventExitStatus UMask LoadCredential "
    "StateDirectory ConfigurationDirectory RuntimeDirectory".split()
)
# How bubblewrap does what a directive asks for.
BUBBLEWRAP: Final[Mapping[str, Sequence[str]]] = {
    "ProtectSystem": ("--ro-bind", "/", "/"),
    "PrivateDevices": ("--dev", "/dev"),
    "PrivateTmp": ("--tmpfs", "/tmp", "--tmpfs", "/var/tmp"),
    "ProtectHome": ("--tmpfs", "/home", "--tmpfs", "/root"),
    # Any uid of a user namespace of its own, without a right in the machine's.
    "User": ("--uid", "1000"),
    "Group": ("--gid", "1000"),
    "PrivateUsers": ("--unshare-user",),
    "PrivateIPC": ("--unshare-ipc",),
    "ProtectHostname": ("--unshare-uts",),
    "ProtectControlGroups": ("--unshare-cgroup",),
    "CapabilityBoundingSet": ("--cap-drop", "ALL"),
    "AmbientCapabilities": (),  # none is left
    "NoNewPrivileges": (),  # bubblewrap always sets it
    "ProtectKernelTunables": (),  # /proc and /sys are read-only as all of /
}
LIMITS: Final[Mapping[str, str]] = {"LimitNOFILE": "--nofile={}", "LimitCORE": "--core={}"}
RULES: Final[Mapping[str, Callable[[seccomp.Program], None]]] = {
    "MemoryDenyWriteExecute": seccomp.memory_rules,
    "RestrictAddressFamilies": lambda program: seccomp.family_rules(program, value(SERVICE, "RestrictAddressFamilies")),
    "RestrictNamespaces": seccomp.namespace_rules,
    "RestrictRealtime": seccomp.realtime_rules,
    "RestrictSUIDSGID": seccomp.mode_rules,
    "LockPersonality": seccomp.personality_rules,
}
# Held by the filter of calls too, which refuses all that these are about.
FILTER: Final = frozenset(
    "SystemCallFilter SystemCallErrorNumber SystemCallArchitectures ProtectClock ProtectKernelLogs "
    "ProtectKernelModules".split()
)
NOT_EXERCISED: Final[Mapping[str, str]] = {
    "TimeoutStartSec": "a manager's patience",
    "TimeoutStopSec": "a manager's patience; compared with the daemon's own deadlines",
    "Restart": "a manager's decision",
    "RestartSec": "a manager's decision",
    "StateDirectoryMode": "made by the manager",
    "RuntimeDirectoryPreserve": "made by the manager",
    "TasksMax": "needs a control group",
    "DevicePolicy": "needs a control group; /dev holds no other device here",
    "KeyringMode": "needs the manager's keyring; the daemon uses none",
    "ProtectProc": "needs /proc mounted anew with hidepid",
    "ProcSubset": "needs /proc mounted anew with subset",
    "RemoveIPC": "what the manager does after the last process",
}


def missing_directives() -> list[str]:
    """Directives of the service that nothing here knows."""
    known = {*STARTED_WITH, *BUBBLEWRAP, *LIMITS, *RULES, *FILTER, *NOT_EXERCISED}
    return sorted({line.name for line in directives(SERVICE) if line.section == "Service"} - known)


class Sandbox:
    """The command that starts another one inside the sandbox; use it with `with`."""

    def __init__(self, writable: Sequence[Path], readable: Sequence[Path]) -> None:
        self._closing = ExitStack()
        asked = {line.name for line in directives(SERVICE) if line.section == "Service"}
        by_argument = seccomp.Program(seccomp.ALLOW)
        for name in asked & RULES.keys():
            RULES[name](by_argument)
        programs = [seccomp.call_filter(values(SERVICE, "SystemCallFilter")).export(), by_argument.export()]
        self._info, told = os.pipe()
        self.pass_fds = (told, *(program.fileno() for program in programs))
        for program in programs:
            self._closing.enter_context(program)
        self._closing.callback(os.close, told)
        self._closing.callback(os.close, self._info)
        limits = [LIMITS[name].format(value(SERVICE, name)) for name in LIMITS if name in asked]
        options = [option for name, row in BUBBLEWRAP.items() if name in asked for option in row]
        # /opt/lognode and the Python of the machine, wherever they are here.
        installed = [Path(sys.prefix), Path(sys.base_prefix), ROOT]
        binds = [option for path in (*installed, *readable) for option in ("--ro-bind", str(path), str(path))]
        binds += [option for path in writable for option in ("--bind", str(path), str(path))]
        filters = [option for program in programs for option in ("--add-seccomp-fd", str(program.fileno()))]
        info = ("--info-fd", str(told))
        self.command = ("prlimit", *limits, "--", "bwrap", *options, *binds, *filters, *info, "--die-with-parent", "--")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def child_pid(self) -> int:
        """The id of the process inside, as bubblewrap tells it."""
        told = b""
        while not told.endswith(b"\n}\n"):
            told += os.read(self._info, 4096)
        return int(json.loads(told)["child-pid"])
