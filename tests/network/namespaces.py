"""Network namespaces joined by veth pairs: machines of their own as far as the network goes, on one kernel."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent


class Machine:
    """One namespace, with its addresses by the interface."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prefix(self, *command: str) -> list[str]:
        """A command line that runs `command` there."""
        return ["ip", "netns", "exec", self.name, *command]

    def ip(self, *arguments: str) -> None:
        """Configure the namespace by iproute2."""
        run("ip", "-n", self.name, *arguments)

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """A Python program there, with pipes to its stdin and stdout."""
        return subprocess.Popen(
            self.prefix(sys.executable, *arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def why_not() -> str | None:
    """Why this machine lets nobody make namespaces; None where it does."""
    try:
        with make_machines("probe") as (probe,):
            probe.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    except (AssertionError, OSError) as error:
        return f"network namespaces are not permitted here: {error}"
    return None


@contextmanager
def make_machines(*names: str) -> Iterator[list[Machine]]:
    """Namespaces with loopback up and nothing else; gone at the end."""
    with ExitStack() as stack:
        machines = []
        for name in names:
            machine = Machine(f"lognode-{os.getpid()}-{name}")
            run("ip", "netns", "add", machine.name)
            stack.callback(run, "ip", "netns", "del", machine.name)
            machine.ip("link", "set", "lo", "up")
            machines.append(machine)
        yield machines


def join(one: Machine, other: Machine, number: int = 1) -> None:
    """A cable between them: 10.77.<number>.1 and .2, and the same of fd77:<number>::, on veth<number>."""
    name = f"veth{number}"
    one.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", other.name)
    for machine, host in ((one, 1), (other, 2)):
        machine.ip("address", "add", f"10.77.{number}.{host}/24", "dev", name)
        machine.ip("address", "add", f"fd77:{number}::{host}/64", "dev", name, "nodad")
        machine.ip("link", "set", name, "up")
