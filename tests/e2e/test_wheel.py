"""The wheel in clean environments: what it holds, what works without an extra, and what an extra adds."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ulim_tf

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ulim_tf", "serving", "tfx_pipeline")
# What deploys the packages is not read by them.
NOT_SHIPPED = ("serving/config/", "tfx_pipeline/Dockerfile")


def tracked() -> list[str]:
    """The files of the checkout, but for what git ignores."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).exists()]


def uv(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of a copy, so that nothing of an earlier build gets in and the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    uv("build", "--wheel", "--build-constraint", "constraints.txt", "--out-dir", str(copy / "dist"), str(copy))
    [built] = (copy / "dist").glob("*.whl")
    return built


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """The folder of the programs of a new environment."""
    uv("venv", "--python", sys.executable, str(folder))
    uv("pip", "install", "--python", str(folder / "bin" / "python"), "--constraint", "constraints.txt",
       f"{wheel}{extra}")
    return folder / "bin"


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    return install(wheel, "", tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def pipeline(wheel, tmp_path_factory) -> Path:
    return install(wheel, "[pipeline]", tmp_path_factory.mktemp("pipeline"))


def run(program: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Away from the checkout, whose packages would hide the installed ones."""
    done = subprocess.run([program, *words], cwd=program.parent, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": "", "PATH": f"{program.parent}:/usr/bin:/bin"})
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_it_holds_the_packages_and_their_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as files:
        held = {name for name in files.namelist() if ".dist-info/" not in name}
    ours = {name for name in tracked() if name.partition("/")[0] in PACKAGES}
    assert held == {name for name in ours if not name.startswith(NOT_SHIPPED)}
    assert {f"{package}/py.typed" for package in PACKAGES} < held


def test_one_version_everywhere(wheel, bare):
    assert run(bare / "ulim", "--version").stdout == f"ulim-tf {ulim_tf.__version__}\n"
    told = run(bare / "python", "-c", "import importlib.metadata, ulim_tf, serving; "
               "print(importlib.metadata.version('ulim-tf'), ulim_tf.__version__)").stdout.split()
    assert told == [ulim_tf.__version__] * 2
    assert wheel.name == f"ulim_tf-{ulim_tf.__version__}-py3-none-any.whl"


def test_without_an_extra_the_doctor_finds_nothing_wrong(bare):
    told = json.loads(run(bare / "ulim", "doctor", "--json").stdout)
    found = {one["check"]: one for one in told["findings"]}
    assert told["ok"] and told["version"] == ulim_tf.__version__
    assert found["ScaNN search"]["found"] == "item 3"
    assert found["tfx"]["found"] == "not installed"
    assert found["tfx"]["remedy"] == "pip install 'ulim-tf[pipeline]'"


def test_without_an_extra_what_needs_one_says_which(bare):
    assert "  train  " in run(bare / "ulim", "--help").stdout
    for name, extra in (("train", "pipeline"), ("serve", "serving"), ("demo", "demo")):
        assert run(bare / "ulim", name, code=1).stderr == (
            f"error: ulim {name} needs the extra '{extra}': pip install 'ulim-tf[{extra}]'\n")
    assert "benchmarks are in a checkout" in run(bare / "ulim", "bench", "index", code=1).stderr
    assert "complete -" in run(bare / "ulim", "completion", "bash").stdout


def test_without_an_extra_the_client_asks(bare, tmp_path):
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\nann,milk,5\n")
    # Port 1 is reserved and never listened at.
    told = run(bare / "ulim", "recommend", "--server", "127.0.0.1:1", "--history", str(tmp_path / "events.csv"), code=1)
    assert "no server answers at 127.0.0.1:1" in told.stderr


def test_with_the_pipeline_it_trains_and_validates_in_a_server(pipeline):
    assert "usage: ulim train " in run(pipeline / "ulim", "train", "--help").stdout
    run(pipeline / "python", "-c", "from tfx_pipeline import run_local; import serving.server.__main__")
    told = run(pipeline / "ulim", "train", "--events", "none.csv", "--workdir", "run", "--train_steps", "0", "--json",
               code=2)
    assert json.loads(told.stdout) == {"error": told.stderr.removeprefix("error: ").strip()}
    assert "TrainingConfig.steps must be at least 1, got 0" in told.stderr
