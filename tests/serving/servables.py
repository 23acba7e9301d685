"""Servables of small models: their vocabularies, exports of no more than a test asks, and exports that files share."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf

from serving.signatures import Servable

_METHOD = {"serving_default": "recommend", "retrieve": "retrieve", "explain": "explain",
           "predict_category": "predict_category", "encode_user": "encode_user", "encode_item": "encode_item"}


def write_vocabularies(folder: Path, items: int, categories: int) -> tuple[str, str]:
    """The files of the items "item 1", "item 2", ... and of the categories "category 1", ..., in a folder."""
    for name, count in (("item", items), ("category", categories)):
        (folder / name).write_text("".join(f"{name} {number}\n" for number in range(1, count + 1)))
    return str(folder / "item"), str(folder / "category")


@contextlib.contextmanager
def only(*signatures: str) -> Iterator[None]:
    """Here servables are exported with these signatures; those of the other names are hollow.

    Most of an export is the tracing of six of them.
    """
    hollow = {method: lambda self, **request: {"hollow": tf.zeros([])}
              for name, method in _METHOD.items() if name not in signatures}
    with mock.patch.multiple(Servable, **hollow):
        yield


def shared(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of all test processes to ask for it has made and filled; it is to be left as it is."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = tmp_path_factory.mktemp(name)
            make(making)
            making.rename(folder)
    return folder
