"""The daemon works in a sandbox like the unit's, which really holds: with all native code loaded, every rule on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from pwd import getpwuid
from tempfile import NamedTemporaryFile
from typing import Final

import pytest

from tests.daemon import LOGNODE
from tests.federation.test_daemon_listeners import free_ports, is_open, shown_at, wait_for
from tests.service.managed import Managed, activated_sockets
from tests.service.sandbox import NOT_EXERCISED, Sandbox, missing_directives
from tests.service.units import ROOT, SERVICE, value

# Compiled code that the daemon is made of; the names are those of files.
NATIVE: Final = ("_sodium", "_rust", "_cffi_backend", "cbor2", "msgspec", "_sqlite3", "zeroconf")
SPANS: Final = 50
# Tries what each rule is about; prints by name whether it could.
PROBE: Final = r"""
import ctypes, json, mmap, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)
def write(path):
    with open(path, "w") as file:
        file.write("x")
own = sys.argv[1] + "/probe"
write(own)
def executable():
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    call("mprotect", ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), 4096, 5)
tries = {
    "MemoryDenyWriteExecute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "MemoryDenyWriteExecute, later": executable,
    "RestrictAddressFamilies": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "RestrictNamespaces": lambda: call("unshare", 0x04000000),
    "RestrictRealtime": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    "RestrictSUIDSGID": lambda: os.chmod(own, 0o4700),
    "LockPersonality": lambda: call("personality", 0x0040000),
    "SystemCallFilter, privileged": lambda: os.chroot("/"),
    "SystemCallFilter, resources": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "SystemCallFilter, other": lambda: call("swapoff", b"/nonexistent"),
    "ProtectSystem": lambda: write("/usr/lognode-probe"),
    "ConfigurationDirectory": lambda: write(sys.argv[2] + "/probe"),
    "ProtectHome": lambda: os.stat(sys.argv[4]),
    "PrivateDevices": lambda: os.stat("/dev/kmsg" if os.path.exists("/dev/kmsg") else "/dev/mem"),
    "PrivateTmp": lambda: os.stat(sys.argv[3]),
    "ProtectHostname": lambda: call("sethostname", b"probe", 5),
    "CapabilityBoundingSet": lambda: call("prctl", 23, 1) if "0000000000000000" not in caps() else call("close", -1),
}
def caps():
    return [line for line in open("/proc/self/status") if line.startswith("CapBnd")][0]
told = {}
for name, attempt in tries.items():
    try:
        attempt()
        told[name] = True
    except (OSError, IndexError):
        told[name] = False
print(json.dumps(told))
"""


def probe(folder: Path, hidden: str, sandbox: Sandbox | None) -> dict[str, bool]:
    """What a process could do, in a sandbox or outside."""
    paths = [str(folder / "state"), str(folder / "etc"), str(folder / "secret"), hidden]
    command = (*(sandbox.command if sandbox else ()), sys.executable, "-c", PROBE, *paths)
    done = subprocess.run(command, capture_output=True, check=False, pass_fds=sandbox.pass_fds if sandbox else ())
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, bool] = json.loads(done.stdout)
    return told


def test_every_directive_is_exercised_or_says_why_not() -> None:
    assert missing_directives() == []
    shown = (ROOT / "docs/operating.md").read_text()
    assert [name for name in NOT_EXERCISED if f"`{name}=`" not in shown] == []


def test_the_sandbox_holds(tmp_path: Path) -> None:
    for name in ("state", "etc"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret").write_text("of another program")
    with NamedTemporaryFile(dir=getpwuid(os.geteuid()).pw_dir) as hidden:
        with Sandbox([tmp_path / "state"], [tmp_path / "etc"]) as sandbox:
            inside = probe(tmp_path, hidden.name, sandbox)
        outside = probe(tmp_path, hidden.name, None)
    Path("/usr/lognode-probe").unlink(missing_ok=True)

    assert [name for name, could in inside.items() if could] == []
    if os.geteuid() == 0:  # whom nothing else stops: it is the sandbox that does
        assert [name for name, could in outside.items() if not could and name != "SystemCallFilter, other"] == []


def test_the_sandbox_tells_the_machines_addresses_and_lets_multicast_out(tmp_path: Path) -> None:
    program = (
        "from lognode.federation.discovery.machine import read_interfaces\n"
        "from zeroconf import Zeroconf\n"
        "print(len(read_interfaces()))\n"
        "Zeroconf(interfaces=['127.0.0.1']).close()"
    )
    with Sandbox([tmp_path], []) as sandbox:
        command = (*sandbox.command, sys.executable, "-c", program)
        shown = subprocess.run(command, check=True, capture_output=True, pass_fds=sandbox.pass_fds).stdout

    assert int(shown) > 0


def test_the_daemon_works_in_the_sandbox_with_all_native_code_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    tcp, unix = activated_sockets(tmp_path / "run")
    folders = {name: tmp_path / name for name in ("state", "run", "etc", "credentials")}
    for path in folders.values():
        path.mkdir(exist_ok=True)
    (folders["credentials"] / value(SERVICE, "LoadCredential").split(":")[0]).write_text("a passphrase")
    peer, join = free_ports(2)
    ports = f'peer_listen = "127.0.0.1:{peer}"\njoin_listen = "127.0.0.1:{join}"\n'
    (folders["etc"] / "lognode.toml").write_text(f'{ports}search = ["default"]')
    with (
        tcp,
        unix,
        Sandbox(
            [folders["state"], folders["run"]], [folders["etc"], folders["credentials"], tmp_path / "notify"]
        ) as sandbox,
        Managed(tmp_path, handed=[tcp, unix], sandbox=sandbox) as managed,
    ):
        managed.start()
        with managed.client() as http:
            lines = b"".join(b'{"kind":"note.made","title":"span %d"}\n' % number for number in range(SPANS))
            ndjson = {"Content-Type": "application/x-ndjson"}
            assert http.post("/v1/tenants/default/spans", content=lines, headers=ndjson).status_code == 201
            spans = http.get("/v1/tenants/default/spans?kind=note.made").json()["spans"]
            assert len(spans) == SPANS
            assert http.get(f"/v1/tenants/default/spans/{spans[0]['id']}/proof").status_code == 200
            # Other nodes find it: it binds both ports, and hands OpenSSL a key that is on no disk.
            assert http.post("/v1/tenants/default/invites", json={}).status_code == 201
            wait_for(lambda: is_open(peer) and is_open(join))
            assert shown_at(peer) == shown_at(join)
        loaded = Path(f"/proc/{managed.pid}/maps").read_text()
        assert [name for name in NATIVE if not re.search(rf"{name}[^/\n]*\.so|/{name}/[^\n]*\.so", loaded)] == []
        limits = Path(f"/proc/{managed.pid}/limits").read_text()
        assert re.search(rf"^Max open files\s+{value(SERVICE, 'LimitNOFILE')} ", limits, re.MULTILINE)
        assert re.search(rf"^Max core file size\s+{value(SERVICE, 'LimitCORE')} ", limits, re.MULTILINE)
        status = Path(f"/proc/{managed.pid}/status").read_text()
        assert re.search(r"^Seccomp:\s2$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
        managed.stop()
    with Sandbox([folders["state"]], []) as sandbox:
        command = (*sandbox.command, *LOGNODE, "verify", "--data-dir", str(folders["state"]))
        subprocess.run(command, check=True, capture_output=True, pass_fds=sandbox.pass_fds)
    with capsys.disabled():
        print("\nnot exercised:", ", ".join(f"{name} ({why})" for name, why in NOT_EXERCISED.items()))
