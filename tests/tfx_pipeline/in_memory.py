"""TensorFlow's file system in memory, which stands for an object store."""

import os
from collections.abc import Iterator

import pytest
import tensorflow as tf
from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem


class InMemory(TensorflowFilesystem):
    """`ram://` for TFX."""

    SUPPORTED_SCHEMES = ["ram://"]

    @staticmethod
    def walk(top: str, topdown: bool = True, onerror: None = None) -> Iterator[tuple[str, list[str], list[str]]]:
        """TensorFlow's lists the folder assets.extra in assets too, as the file .extra."""
        for folder, folders, names in TensorflowFilesystem.walk(top, topdown, onerror):
            yield folder, folders, [name for name in names if tf.io.gfile.exists(os.path.join(folder, name))]


def register(monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes TFX know it; gives the URI of a folder there."""
    registry = filesystem_registry.FilesystemRegistry()
    registry.register(TensorflowFilesystem, priority=0)
    registry.register(InMemory, priority=1)
    monkeypatch.setattr(filesystem_registry, "DEFAULT_FILESYSTEM_REGISTRY", registry)
    return "ram://shop"
