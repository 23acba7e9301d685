"""scripts/setup.sh in a copy of the tree, on machines that lack something: what it says, and that it builds nothing."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "dirname", "cat", "sha256sum", "grep", "head", "uname", "df", "awk", "flock", "rm")
GOOD_LOCK = "# the lock\nnumpy==1.26.4\nuv==0.13.9\n"


@pytest.fixture
def machine(tmp_path):
    """A checkout, a home and a PATH with a few tools and no Python; returns the environment that shows only these."""
    checkout, home, tools = tmp_path / "checkout", tmp_path / "home", tmp_path / "tools"
    for folder in (checkout / "scripts", home, tools):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", checkout / "scripts")
    (checkout / "constraints.txt").write_text(GOOD_LOCK)
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx avx2 fma\n")
    return {"PATH": str(tools), "HOME": str(home), "CPUINFO": str(cpuinfo), "CHECKOUT": str(checkout)}


def set_up(machine: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the copy's set-up script; the caller looks at its exit code and what it printed."""
    return subprocess.run(
        ["bash", f"{machine['CHECKOUT']}/scripts/setup.sh"], env=machine | environment, capture_output=True, text=True
    )


def executable(path: Path, script: str) -> Path:
    """A shell script at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def assert_refused(machine: dict[str, str], done: subprocess.CompletedProcess[str], *messages: str) -> None:
    """It exited 1, said each of `messages`, and left no .venv."""
    assert done.returncode == 1
    for message in messages:
        assert message in done.stderr
    assert not Path(machine["CHECKOUT"], ".venv").exists()


def test_without_python_310_it_names_three_ways_to_get_it(machine):
    ways = ("apt install python3.10", "pyenv install 3.10", "uv python install 3.10")
    assert_refused(machine, set_up(machine), "no Python 3.10 found", *ways)


def test_a_shim_that_fails_and_another_version_are_not_python_310(machine):
    executable(Path(machine["PATH"], "python3.10"), "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    executable(Path(machine["HOME"], ".pyenv/versions/3.10.1/bin/python"), "echo 3 12")
    assert_refused(machine, set_up(machine), "no Python 3.10 found")


@pytest.mark.parametrize(
    "place", [".pyenv/versions/3.10.13/bin/python", ".local/share/uv/python/cpython-3.10.19-linux/bin/python3.10"]
)
def test_a_python_310_off_the_path_is_found_and_then_checked(machine, place):
    python = executable(Path(machine["HOME"], place), 'case "$2" in *version_info*) echo 3 10;; *) exit 1;; esac')
    assert_refused(machine, set_up(machine), f"{python} cannot make virtual environments: apt install python3.10-venv")


def test_a_chosen_python_that_is_another_version_is_refused(machine):
    chosen = executable(Path(machine["HOME"], "python"), "echo 3 12")
    assert_refused(machine, set_up(machine, PYTHON=str(chosen)), f"PYTHON={chosen} does not run as Python 3.10")


@pytest.mark.parametrize("flag", ["avx2", "fma"])
def test_a_cpu_without_the_instructions_is_refused(machine, flag):
    cpuinfo = Path(machine["CPUINFO"])
    cpuinfo.write_text(cpuinfo.read_text().replace(f" {flag}", ""))
    assert_refused(machine, set_up(machine), f"the CPU has no {flag.upper()}")


def test_another_platform_is_refused(machine):
    tool = Path(machine["PATH"], "uname")
    tool.unlink()
    executable(tool, "echo Darwin arm64")
    assert_refused(machine, set_up(machine), "this is Darwin arm64", "Linux x86_64")


def test_a_full_disk_is_refused(machine):
    tool = Path(machine["PATH"], "df")
    tool.unlink()
    executable(tool, "echo header; echo /dev/vda 9999999 9999999 2097152 99% /")
    assert_refused(machine, set_up(machine), "2 GiB free here, 6 GiB needed")


def test_a_broken_lock_line_is_named(machine):
    Path(machine["CHECKOUT"], "constraints.txt").write_text(GOOD_LOCK + "scann>=1.3\ntensorflow==2.16.2\n")
    assert_refused(machine, set_up(machine), "broken lock: constraints.txt line 4 is not 'name==version': scann>=1.3")


def test_a_missing_lock_is_named(machine):
    Path(machine["CHECKOUT"], "constraints.txt").unlink()
    assert_refused(machine, set_up(machine), "constraints.txt is missing")


def finish(machine: dict[str, str], stamp_of: str) -> Path:
    """A finished .venv whose stamp is that of the lock `stamp_of`; returns a file in it."""
    venv = Path(machine["CHECKOUT"], ".venv")
    executable(venv / "bin" / "python", "echo Python 3.10.13")
    digest = hashlib.sha256(f"{stamp_of}Python 3.10.13\n".encode()).hexdigest()
    (venv / ".lock-sha256").write_text(f"{digest}  -\n")
    witness = venv / "witness"
    witness.touch()
    return witness


def test_with_the_right_stamp_it_returns_at_once_and_leaves_the_venv_alone(machine):
    witness = finish(machine, stamp_of=GOOD_LOCK)
    started = time.monotonic()
    done = set_up(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 1
    assert witness.exists()


def test_after_the_lock_changed_it_starts_over_and_a_failed_build_leaves_nothing(machine):
    witness = finish(machine, stamp_of="numpy==1.26.3\n")
    include = Path(machine["HOME"], "include")
    include.mkdir()
    (include / "Python.h").touch()
    script = f'case "$2" in *version_info*) echo 3 10;; *sysconfig*) echo {include};; venv) exit 3;; esac'
    chosen = executable(Path(machine["HOME"], "python"), script)
    done = set_up(machine, PYTHON=str(chosen), CXX=sys.executable)
    assert done.returncode == 3
    assert f"making .venv with {chosen}" in done.stdout
    assert not witness.parent.exists()


def test_it_is_executable():
    assert os.access(ROOT / "scripts" / "setup.sh", os.X_OK)
