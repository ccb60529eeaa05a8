"""What systemd's own tools say of the units, and that they say the same as the code."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from lognode.cli.main import EXIT_CONFLICT, EXIT_NOT_ALLOWED, EXIT_USAGE
from lognode.core.limits import CONNECTIONS_MAX, STOP_S_MAX
from lognode.settings import Settings
from tests.service.units import PROGRAM, SERVICE, SOCKET, SYSUSERS, value, values

EXPOSURE_MAX: Final = 2.0


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    # The program is looked for, and not installed here.
    service = tmp_path / SERVICE.name
    service.write_text(SERVICE.read_text().replace(PROGRAM, "/bin/true"))
    shutil.copy(SOCKET, tmp_path)

    verified = analyze("verify", service, tmp_path / SOCKET.name)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_systemd_finds_a_mistake_in_a_unit(tmp_path: Path) -> None:
    service = tmp_path / SERVICE.name
    service.write_text(SERVICE.read_text().replace(PROGRAM, "/bin/true").replace("UMask=", "UMsk="))

    assert "UMsk" in analyze("verify", service).stderr


def exposure(service: Path) -> float:
    judged = analyze("security", "--offline=true", service)
    found = re.search(r"Overall exposure level for lognode\.service: ([0-9.]+)", judged.stdout)
    assert found, judged
    return float(found[1])


def test_the_service_is_exposed_to_little(tmp_path: Path) -> None:
    open_service = tmp_path / SERVICE.name
    open_service.write_text("[Service]\nExecStart=/bin/true\n")

    assert exposure(SERVICE) <= EXPOSURE_MAX
    assert exposure(open_service) > EXPOSURE_MAX


def test_the_user_of_the_unit_is_the_one_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", SYSUSERS], check=True, timeout=60)

    (line,) = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, _, _, _, home, shell = line.split(":")
    assert name == value(SERVICE, "User") == value(SERVICE, "Group") == value(SOCKET, "SocketUser")
    assert home == f"/var/lib/{value(SERVICE, 'StateDirectory')}"
    assert shell == "/usr/sbin/nologin"


def test_the_units_fit_the_daemon() -> None:
    listen, path = values(SOCKET, "ListenStream")

    assert listen == Settings(Path()).listen
    assert Path(path).parent == Path("/run") / value(SERVICE, "RuntimeDirectory")
    # Exit codes that nothing but a person mends.
    hopeless = f"{EXIT_USAGE} {EXIT_NOT_ALLOWED} {EXIT_CONFLICT}"
    assert value(SERVICE, "RestartPreventExitStatus") == hopeless
    # Whoever stops it waits for what the daemon itself waits for, and a commit besides.
    assert int(value(SERVICE, "TimeoutStopSec").removesuffix("s")) >= 3 * STOP_S_MAX
    assert int(value(SERVICE, "LimitNOFILE")) > 2 * CONNECTIONS_MAX


@pytest.mark.parametrize("unit", [SERVICE, SOCKET])
def test_a_unit_is_in_lines_that_one_can_read(unit: Path) -> None:
    assert max(map(len, unit.read_text().splitlines())) <= 120
