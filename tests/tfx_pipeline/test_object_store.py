"""What runs on a cluster writes to URIs; TensorFlow's file system in memory stands for an object store."""

import dataclasses
import json

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from serving import model_card
from tests.serving import in_process
from tests.serving.test_answers import ITEM_CATEGORY, exported
from tests.tfx_pipeline import in_memory
from tfx_pipeline.components.pusher.executor import Executor
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.components.servable_validator.executor import Executor as Validator
from tfx_pipeline.evaluation import results
from ulim_tf.config import FeaturesConfig

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2


@pytest.fixture
def store(monkeypatch):
    """The URI of a folder of an object store that TFX knows."""
    return in_memory.register(monkeypatch)


def test_a_push_to_an_object_store_arrives_there(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    model.uri, pushed.uri = f"{store}/model", f"{store}/pushed"
    for folder in ("Format-Serving", "servables/ulim_gpu"):
        for name in ("saved_model.pb", "variables/variables.index", model_card.FILE):
            tf.io.gfile.makedirs(f"{model.uri}/{folder}/{name.rpartition('/')[0]}")
            with tf.io.gfile.GFile(f"{model.uri}/{folder}/{name}", "w") as file:
                file.write(model_card.NOT_MEASURED if name == model_card.FILE else name)
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=f"{store}/serving/ulim"))
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = f"{store}/evaluation"
    monkeypatch.setattr(results, "read_metrics", {evaluation.uri: {"all": {"recall@20": 0.25}}}.__getitem__)
    Executor().Do({"model": [model], "evaluation": [evaluation]}, {"pushed_model": [pushed]}, {
        "push_destination": proto_utils.proto_to_json(destination)})
    version = pushed.get_string_custom_property("pushed_destination")
    assert version.startswith(f"{store}/serving/ulim/") and version.rpartition("/")[2].isdecimal()
    for folder in (version, version.replace("/ulim/", "/ulim_gpu/")):
        for name in ("saved_model.pb", "variables/variables.index"):
            with tf.io.gfile.GFile(f"{folder}/{name}") as file:
                assert file.read() == name
        with tf.io.gfile.GFile(f"{folder}/{model_card.FILE}") as file:
            assert "| recall@20 | 0.2500 |" in file.read()
    assert list(tmp_path.iterdir()) == []


def test_a_servable_in_an_object_store_is_validated(store, tmp_path_factory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(validation, "serve", in_process.serve)
    artifacts = {"model": standard_artifacts.Model(), "examples": standard_artifacts.Examples(),
                 "blessing": standard_artifacts.InfraBlessing()}
    for name, artifact in artifacts.items():
        artifact.uri = f"{store}/validated/{name}"
        tf.io.gfile.makedirs(artifact.uri)
    io_utils.copy_dir(str(exported(tmp_path_factory) / "ulim_gpu"), f"{artifacts['model'].uri}/Format-Serving")
    artifacts["examples"].split_names = '["catalog"]'
    tf.io.gfile.makedirs(f"{artifacts['examples'].uri}/Split-catalog")
    with tf.io.TFRecordWriter(f"{artifacts['examples'].uri}/Split-catalog/data.gz", "GZIP") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)) for name, values in (
                ("catalog_item_id", [b"item %d" % one for one in range(1, len(ITEM_CATEGORY))]),
                ("catalog_category_id", [b"category %d" % one for one in ITEM_CATEGORY[1:]]))})).SerializeToString())
    Validator().Do({name: [artifacts[name]] for name in ("model", "examples")}, {"blessing": [artifacts["blessing"]]}, {
        "features": json.dumps(dataclasses.asdict(FeaturesConfig())), "load_seconds": 60.0, "latency_budget_ms": 1e4})
    found = validation.read(artifacts["blessing"].uri)
    assert found.blessed and [check.name for check in found.checks] == [
        "load", "signatures", "answers", "ids", "latency"]
    assert artifacts["blessing"].get_int_custom_property("blessed") == 1
    assert list(tmp_path.iterdir()) == []
