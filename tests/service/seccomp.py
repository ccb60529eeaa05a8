"""The unit's rules for system calls as seccomp programs, made by libseccomp, which systemd brings along.

systemd loads a program for each directive; two do the same here: one that lets only the calls of SystemCallFilter=
pass, and one that refuses by argument what the other directives forbid.
"""

import mmap
import socket
import subprocess
from collections.abc import Iterable, Iterator
from ctypes import CDLL, POINTER, Structure, c_int, c_uint, c_uint32, c_uint64, c_void_p
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from tempfile import TemporaryFile
from typing import IO, Final

ALLOW: Final = 0x7FFF0000
NE: Final = 1
EQ: Final = 4
GE: Final = 5
MASKED_EQ: Final = 7
FAMILIES: Final = 64  # more than Linux knows
CLONE_NAMESPACES: Final = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
REALTIME_POLICIES: Final = (1, 2, 6)  # FIFO, RR, DEADLINE
SHM_EXEC: Final = 0o100000
SUID, SGID = 0o4000, 0o2000


class _Compare(Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("arg", c_uint), ("op", c_int), ("a", c_uint64), ("b", c_uint64))


def _load() -> CDLL:
    lib = CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = c_void_p
    lib.seccomp_init.argtypes = [c_uint32]
    lib.seccomp_release.argtypes = [c_void_p]
    lib.seccomp_rule_add_array.argtypes = [c_void_p, c_uint32, c_int, c_uint, POINTER(_Compare)]
    lib.seccomp_export_bpf.argtypes = [c_void_p, c_int]
    return lib


class Program:
    """A seccomp program; what no rule is about meets `default`."""

    def __init__(self, default: int) -> None:
        self._lib = _load()
        self._context = self._lib.seccomp_init(default)

    def add(self, action: int, call: str, *compares: tuple[int, int, int, int]) -> None:
        """A rule for one call, if this machine has it; all of `compares` (argument, operator, two values) must hold."""
        number = self._lib.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            array = (_Compare * len(compares))(*[_Compare(*compare) for compare in compares])
            code = self._lib.seccomp_rule_add_array(self._context, action, number, len(compares), array)
            assert code == 0, (call, compares, code)

    def export(self) -> IO[bytes]:
        """A file with the program, at its beginning."""
        file = TemporaryFile()  # noqa: SIM115 - whoever starts the sandbox closes it
        assert self._lib.seccomp_export_bpf(self._context, file.fileno()) == 0
        self._lib.seccomp_release(self._context)
        file.seek(0)
        return file


def refuse(error: int) -> int:
    """The action by which a call fails with `error`."""
    return 0x00050000 | error


def calls_of(groups: Iterable[str]) -> set[str]:
    """The system calls in systemd's groups."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    members = dict[str, set[str]]()
    group = ""
    for line in listed.splitlines():
        word = line.strip()
        if line.startswith("@"):
            group = word
        elif word and not word.startswith("#"):
            members.setdefault(group, set()).add(word)

    def expand(name: str) -> Iterator[str]:
        if not name.startswith("@"):
            yield name
        for member in members[name] if name.startswith("@") else ():
            yield from expand(member)

    return {call for group in groups for call in expand(group)}


def call_filter(values: Iterable[str]) -> Program:
    """What passes the lines of SystemCallFilter=; the others fail with EPERM, as SystemCallErrorNumber= says."""
    allowed = set[str]()
    for value in values:
        if value.startswith("~"):
            allowed -= calls_of(value[1:].split())
        else:
            allowed |= calls_of(value.split())
    program = Program(refuse(EPERM))
    for call in sorted(allowed | calls_of(["@default"])):
        program.add(ALLOW, call)
    return program


def memory_rules(program: Program) -> None:
    """MemoryDenyWriteExecute=: no memory that can be written and executed, and none that becomes executable."""
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    program.add(refuse(EPERM), "mmap", (2, MASKED_EQ, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        program.add(refuse(EPERM), call, (2, MASKED_EQ, mmap.PROT_EXEC, mmap.PROT_EXEC))
    program.add(refuse(EPERM), "shmat", (2, MASKED_EQ, SHM_EXEC, SHM_EXEC))


def family_rules(program: Program, value: str) -> None:
    """RestrictAddressFamilies=: sockets of these families alone."""
    allowed = {int(getattr(socket, name)) for name in value.split()}
    for family in set(range(FAMILIES)) - allowed:
        program.add(refuse(EAFNOSUPPORT), "socket", (0, EQ, family, 0))
    program.add(refuse(EAFNOSUPPORT), "socket", (0, GE, FAMILIES, 0))


def namespace_rules(program: Program) -> None:
    """RestrictNamespaces=yes: no new ones, and none entered."""
    for call in ("unshare", "setns"):
        program.add(refuse(EPERM), call)
    for flag in CLONE_NAMESPACES:
        program.add(refuse(EPERM), "clone", (0, MASKED_EQ, flag, flag))
    program.add(refuse(ENOSYS), "clone3")  # its flags lie where a filter cannot look


def realtime_rules(program: Program) -> None:
    """RestrictRealtime=: no scheduling before others."""
    for policy in REALTIME_POLICIES:
        program.add(refuse(EPERM), "sched_setscheduler", (1, EQ, policy, 0))
    program.add(refuse(EPERM), "sched_setattr")


def mode_rules(program: Program) -> None:
    """RestrictSUIDSGID=: no file that others would run with this user's rights."""
    for call, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2)):
        for bit in (SUID, SGID):
            program.add(refuse(EPERM), call, (argument, MASKED_EQ, bit, bit))


def personality_rules(program: Program) -> None:
    """LockPersonality=: the machine's own way to run programs."""
    program.add(refuse(EPERM), "personality", (0, NE, 0, 0))
