"""What runs on a cluster writes to URIs; TensorFlow's file system in memory stands for an object store."""

import pytest
from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_pipeline.components.pusher.executor import Executor

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2


class InMemory(TensorflowFilesystem):
    SUPPORTED_SCHEMES = ["ram://"]


@pytest.fixture
def store(monkeypatch):
    """The URI of a folder of an object store that TFX knows."""
    registry = filesystem_registry.FilesystemRegistry()
    registry.register(TensorflowFilesystem, priority=0)
    registry.register(InMemory, priority=1)
    monkeypatch.setattr(filesystem_registry, "DEFAULT_FILESYSTEM_REGISTRY", registry)
    return "ram://shop"


def test_a_push_to_an_object_store_arrives_there(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    model.uri, pushed.uri = f"{store}/model", f"{store}/pushed"
    for folder in ("Format-Serving", "servables/ulim_gpu"):
        for name in ("saved_model.pb", "variables/variables.index"):
            tf.io.gfile.makedirs(f"{model.uri}/{folder}/variables")
            with tf.io.gfile.GFile(f"{model.uri}/{folder}/{name}", "w") as file:
                file.write(name)
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=f"{store}/serving/ulim"))
    Executor().Do({"model": [model]}, {"pushed_model": [pushed]}, {
        "push_destination": proto_utils.proto_to_json(destination)})
    version = pushed.get_string_custom_property("pushed_destination")
    assert version.startswith(f"{store}/serving/ulim/") and version.rpartition("/")[2].isdecimal()
    for folder in (version, version.replace("/ulim/", "/ulim_gpu/")):
        for name in ("saved_model.pb", "variables/variables.index"):
            with tf.io.gfile.GFile(f"{folder}/{name}") as file:
                assert file.read() == name
    assert list(tmp_path.iterdir()) == []
