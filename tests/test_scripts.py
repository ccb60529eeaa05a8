"""The scripts that set up and start, on a copy of them, with programs of our own in place of uv and apt-get.

What the real ones install shows whenever the scripts are used. Here it is about what the scripts decide:
when to install and into what, and what they say where something is missing.
"""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.daemon import Daemon

ROOT: Final = Path(__file__).parent.parent
SCRIPTS: Final = ("scripts/run", "scripts/test", "scripts/check", ".ci/run")

# What Debian's essential packages bring and the scripts use; the copy's PATH leads to nothing else.
PROGRAMS: Final = "bash basename cat chmod cp cut dirname env flock grep mkdir rm sha256sum sleep".split()

PYTHON: Final = f'#!/bin/bash\nexec "{sys.executable}" "$@"\n'
PYTHON_WITHOUT_VENV: Final = f'#!/bin/bash\n[[ "$*" != *ensurepip* ]] && exec "{sys.executable}" "$@"\n'
PYTHON_TOO_OLD: Final = "#!/bin/bash\nexit 1\n"
APT_GET: Final = '#!/bin/bash\necho "apt-get $*" >>"$LOG"\n'

# Makes an environment whose `lognode` prints how it was called; fails to install while there is $LOG.fail.
UV: Final = """#!/bin/bash
set -eu
echo "uv $1 ${UV_NO_CACHE:+without cache }${!#}" >>"$LOG"
if [ "$1" = venv ]; then
    mkdir -p "${!#}/bin"
    echo "VIRTUAL_ENV='${!#}'" >"${!#}/bin/activate"
    cp "$(dirname "$0")/python3" "${!#}/bin/python"
else
    sleep 0.2
    [ ! -e "$LOG.fail" ] || exit 1
    bin="$(dirname "$5")"
    printf '#!/bin/bash\\necho "lognode $*"\\n' >"$bin/lognode"
    chmod +x "$bin/lognode"
fi
"""


class Checkout:
    """A copy of the scripts and what they read, on a machine that has only what it was given."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.root = folder / "checkout"
        self.elsewhere = folder / "elsewhere"
        self.log_path = folder / "log"
        self._bin = folder / "bin"
        for path in (self.root, self.elsewhere, self._bin):
            path.mkdir()
        for name in (*SCRIPTS, "scripts/environment", "pyproject.toml", "constraints.txt"):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        for name in PROGRAMS:
            (self._bin / name).symlink_to(shutil.which(name) or name)
        for name, text in programs.items():
            program = self._bin / name.replace("_", "-")
            program.write_text(text)
            program.chmod(0o755)

    @property
    def log(self) -> list[str]:
        """How the programs that install were called."""
        return self.log_path.read_text().splitlines() if self.log_path.exists() else []

    def start(self, script: str, *args: str, **environ: str) -> subprocess.Popen[str]:
        """The script as a process, called from another directory."""
        return subprocess.Popen(
            [self.root / script, *args],
            cwd=self.elsewhere,
            env={"PATH": str(self._bin), "LOG": str(self.log_path), "HOME": str(self.elsewhere), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The script's end and what it printed."""
        process = self.start(script, *args, **environ)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, uv=UV, python3=PYTHON)


def test_the_first_start_makes_an_environment_and_the_second_only_starts(checkout: Checkout) -> None:
    first = checkout.run("scripts/run", "--data-dir", "a b")
    second = checkout.run("scripts/run")

    assert (first.returncode, first.stdout) == (0, "lognode up --data-dir a b\n")
    assert f"into {checkout.root}/.venv" in first.stderr
    assert (second.returncode, second.stdout) == (0, "lognode up\n")
    assert "Installing" not in second.stderr
    assert f'export PATH="{checkout.root}/.venv/bin:$PATH"' in second.stderr
    assert checkout.log == [f"uv venv {checkout.root}/.venv", f"uv pip {checkout.root}"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed_at_the_next_start(checkout: Checkout, name: str) -> None:
    checkout.run("scripts/run")
    with (checkout.root / name).open("a") as file:
        file.write("# changed\n")
    checkout.run("scripts/run")

    assert [line.split()[1] for line in checkout.log] == ["venv", "pip", "pip"]


def test_two_first_starts_at_once_install_once(checkout: Checkout) -> None:
    processes = [checkout.start("scripts/run") for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in processes]

    assert answers == ["lognode up\n", "lognode up\n"]
    assert [line.split()[1] for line in checkout.log] == ["venv", "pip"]


def test_an_installation_that_failed_is_done_again(checkout: Checkout) -> None:
    failure = Path(f"{checkout.log_path}.fail")
    failure.touch()
    failed = checkout.run("scripts/run")
    failure.unlink()
    done = checkout.run("scripts/run")

    assert failed.returncode != 0
    assert failed.stdout == ""
    assert (done.returncode, done.stdout) == (0, "lognode up\n")


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.run("scripts/run")
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    moved = checkout.run("scripts/run")

    assert moved.stdout == "lognode up\n"
    assert checkout.log[2:] == [f"uv venv {checkout.root}/.venv", f"uv pip {checkout.root}"]


def test_the_environment_of_the_tests_serves_the_daemon_too(checkout: Checkout) -> None:
    tests = checkout.run("scripts/test", "--version")
    daemon = checkout.run("scripts/run")

    assert "pytest" in tests.stdout + tests.stderr
    assert daemon.stdout == "lognode up\n"
    assert checkout.log == [f"uv venv {checkout.root}/.venv", f"uv pip {checkout.root}[dev]"]


def test_a_home_that_takes_no_files_is_no_hindrance(checkout: Checkout) -> None:
    file = checkout.elsewhere / "file"
    file.touch()
    started = checkout.run("scripts/run", HOME=str(file))

    assert started.stdout == "lognode up\n"
    assert checkout.log[0].startswith("uv venv without cache")


def test_without_uv_and_venv_the_debian_package_is_named(tmp_path: Path) -> None:
    started = Checkout(tmp_path, python3=PYTHON_WITHOUT_VENV).run("scripts/run")

    assert started.returncode == 1
    assert "apt-get install python3-venv" in started.stderr


def test_without_a_python_that_is_new_enough_the_version_is_named(tmp_path: Path) -> None:
    started = Checkout(tmp_path, python3=PYTHON_TOO_OLD).run("scripts/run")

    assert started.returncode == 1
    assert "Python 3.11 or newer is missing" in started.stderr


def test_continuous_integration_names_the_packages_that_it_cannot_install(tmp_path: Path) -> None:
    ended = Checkout(tmp_path, python3=PYTHON_WITHOUT_VENV, id="#!/bin/bash\necho 1000\n").run(".ci/run")

    assert ended.returncode == 1
    assert "apt-get install strace curl systemd bubblewrap fish zsh iproute2 python3-venv" in ended.stderr


def test_continuous_integration_installs_missing_packages_as_root(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, python3=PYTHON, uv=UV, apt_get=APT_GET, id="#!/bin/bash\necho 0\n")
    checkout.run(".ci/run")

    assert checkout.log[1].endswith("--yes --no-install-recommends strace curl systemd bubblewrap fish zsh iproute2")


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/environment"])
def test_a_script_is_valid_bash_and_executable_unless_it_is_to_be_sourced(script: str) -> None:
    path = ROOT / script

    assert os.access(path, os.X_OK) == (script != "scripts/environment")
    subprocess.run(["bash", "-n", path], check=True)


def test_every_dependency_is_pinned_to_a_version_in_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}

    for line in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        dependency = Requirement(line)
        assert dependency.specifier.contains(versions[canonicalize_name(dependency.name)]), (
            f"{line}: compile constraints.txt again, as its second line says"
        )


def test_a_wheel_holds_all_that_a_daemon_needs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, env={}
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environ = {"PYTHONPATH": str(tmp_path / "installed"), "HOME": str(tmp_path)}
    origin = subprocess.check_output(
        [sys.executable, "-c", "import lognode.node; print(lognode.node.__file__)"],
        cwd=tmp_path,
        env=environ,
        text=True,
    )
    assert Path(origin.strip()) == tmp_path / "installed/lognode/node/__init__.py"

    daemon = Daemon(tmp_path / "node", environ=environ)
    daemon.restart()
    daemon.stop()
