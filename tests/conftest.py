"""Selects Keras 2 before any test module imports TensorFlow, silences the start-up notes, as the commands do, and says
how several processes share the tests."""

import os  # isort: skip

# One test process a core; more threads in each only get in each other's way.
os.environ |= {"TF_NUM_INTEROP_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
import ulim_tf.quiet  # noqa: F401  isort: skip

from typing import Any

import pytest

_E2E = "tests/e2e/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process is left alone with them in the end."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: (not item.nodeid.startswith(_E2E), item.path not in long))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files, because of what their tests share; the folder e2e, of which one run is the most, is as one file."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _E2E if nodeid.startswith(_E2E) else nodeid.split("::", 1)[0]

    config.option.loadscopereorder = False  # it would put files of many tests first, which are short ones
    return ByFile(config, log)
