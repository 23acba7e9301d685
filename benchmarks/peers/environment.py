"""The virtual environment of a peer: made once from its pinned requirements, in a folder that git ignores."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(".bench/peers")

_STAMP = ".requirements-sha256"  # written last: no stamp, no finished environment
_LINES_SHOWN = 15


class SetupError(RuntimeError):
    """An environment cannot be made; says what to do."""


class Environment:
    """A Python of a version with the requirements of a file.

    Args:
        name: of its folder.
        version: of Python, such as 3.11.
        requirements: pinned, as pip reads them.
        root: where environments lie.
    """

    def __init__(self, name: str, version: str, requirements: Path, root: Path = ROOT):
        self.name, self._version, self._requirements = name, version, requirements
        self._folder = root / name

    def python(self) -> Path:
        """Its interpreter; makes the environment first, if it is not there, unfinished or of other requirements.

        Raises:
            SetupError: no Python of the version was found, or the requirements could not be installed.
        """
        python = (self._folder / "bin" / "python").absolute()
        stamp = self._folder / _STAMP
        wanted = hashlib.sha256(f"{self._version}\n{self._requirements.read_text()}".encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._make(python)
            stamp.write_text(wanted)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return python

    def _make(self, python: Path) -> None:
        print(f"    making {self._folder} from {self._requirements.name}, once; this takes some minutes", flush=True)
        _run([find_python(self._version), "-m", "venv", self._folder],
             f"the virtual environment {self._folder} could not be made. On Debian and Ubuntu, "
             f"apt install python{self._version}-venv")
        _run([python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
              "--requirement", self._requirements],
             f"the requirements of the peer {self.name}, {self._requirements}, could not be installed. Check the "
             f"network and pip's settings, and that {self._folder.parent} has 6 GB of free space, then run again")


def find_python(version: str) -> Path:
    """An interpreter of a version, such as 3.11: this one, one on PATH, or one of pyenv or uv.

    Raises:
        SetupError: there is none.
    """
    for candidate in _pythons(version):
        if _runs_as(candidate, version):
            return candidate
    raise SetupError(
        f"no Python {version} found, which this peer's libraries need. Any of these gets it:\n"
        f"  apt install python{version} python{version}-venv   (or from ppa:deadsnakes/ppa)\n"
        f"  pyenv install {version}\n"
        f"  uv python install {version}")


def _pythons(version: str) -> Iterator[Path]:
    """Where one may lie; a pyenv shim is on PATH but fails where its version is not selected, so all are tried."""
    yield Path(sys._base_executable)
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}*/bin/python"))
    yield from sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}*/bin/python{version}"))


def _runs_as(python: Path, version: str) -> bool:
    if not os.access(python, os.X_OK):
        return False
    said = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                          capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.strip() == version


def _run(command: list[str | Path], what_to_do: str) -> None:
    """Runs a command, showing what pip is about."""
    lines = []
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith(("Collecting ", "Installing ")):
                print(f"      {line.rstrip()[:100]}", flush=True)
    if process.returncode:
        raise SetupError(f"{what_to_do}.\n\n{''.join(lines[-_LINES_SHOWN:])}")
