"""The component on a real servable and on spoilt copies of it: two in fresh processes, the others in this one."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from tests.serving import in_process
from tests.serving.test_answers import ITEM_CATEGORY, ITEMS, exported, shaken_model
from tfx_pipeline.components.pusher import versions
from tfx_pipeline.components.pusher.component import Pusher
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.components.servable_validator.component import ServableValidator
from tfx_pipeline.config import PushConfig
from ulim_tf.config import FeaturesConfig


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return exported(tmp_path_factory) / "ulim_gpu"


@pytest.fixture
def examples(tmp_path):
    """Their split `catalog` alone, without item 40."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(tmp_path / "examples"), artifact_utils.encode_split_names(["catalog"])
    (tmp_path / "examples" / "Split-catalog").mkdir(parents=True)
    with tf.io.TFRecordWriter(f"{artifact.uri}/Split-catalog/data.gz", "GZIP") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)) for name, values in (
                ("catalog_item_id", [b"item %d" % one for one in range(1, ITEMS)]),
                ("catalog_category_id", [b"category %d" % one for one in ITEM_CATEGORY[1:ITEMS]]))
        })).SerializeToString())
    return artifact


@pytest.fixture
def gate(tmp_path, examples, capsys):
    """Validates a servable and pushes it if it is blessed; gives the validation, and whether it was pushed."""

    def run(servable: Path, config: PushConfig = PushConfig(),
            **others: Path) -> tuple[validation.Validation, bool]:
        model, blessing, pushed = (kind() for kind in (
            standard_artifacts.Model, standard_artifacts.InfraBlessing, standard_artifacts.PushedModel))
        model.uri, blessing.uri, pushed.uri = (str(tmp_path / name) for name in ("model", "blessing", "pushed"))
        Path(model.uri).mkdir()
        (Path(model.uri) / "Format-Serving").symlink_to(servable)
        for name, folder in others.items():
            (Path(model.uri) / "servables").mkdir(exist_ok=True)
            (Path(model.uri) / "servables" / name).symlink_to(folder)
        validator = ServableValidator(_channel(model), _channel(examples), FeaturesConfig(), config)
        _execute(validator, {"model": [model], "examples": [examples]}, {"blessing": [blessing]})
        pusher = Pusher(_channel(model), str(tmp_path / "base"), config.versions_kept,
                        infra_blessing=validator.outputs["blessing"])
        _execute(pusher, {"model": [model], "infra_blessing": [blessing]}, {"pushed_model": [pushed]})
        there = versions.numbers(str(tmp_path / "base"))
        found = validation.read(blessing.uri)
        assert (Path(blessing.uri) / ("INFRA_BLESSED" if there else "INFRA_NOT_BLESSED")).is_file()
        assert blessing.get_int_custom_property("blessed") == found.blessed == bool(there)
        told = json.loads((Path(blessing.uri) / "validation.json").read_text())
        assert told["blessed"] == bool(there)
        assert [check["passed"] for check in told["checks"]] == [not check["faults"] for check in told["checks"]]
        printed = capsys.readouterr().out
        assert all(f"    not blessed: {fault}\n" in printed for fault in found.faults())
        return found, bool(there)

    return run


def _channel(artifact):
    return types.Channel(type=type(artifact))


def _execute(component, inputs, outputs) -> None:
    for [artifact] in outputs.values():
        os.makedirs(artifact.uri)
    component.EXECUTOR_SPEC.executor_class().Do(inputs, outputs, dict(component.exec_properties))


@pytest.fixture(scope="module")
def good_served(good, tmp_path_factory) -> Iterator[str]:
    """The address of a server of the good servable, which takes seconds to load it."""
    base = tmp_path_factory.mktemp("served")
    (base / "1").symlink_to(good)
    with in_process.serve(base, 60) as target:
        yield target


@pytest.fixture
def in_this_process(request, good, monkeypatch):
    """Servers are of this process; the good servable, as it is, has one for all tests."""

    @contextlib.contextmanager
    def serve(base: Path, timeout: float, output: IO[str]) -> Iterator[str]:
        if (base / "1").resolve() == good.resolve():
            yield request.getfixturevalue("good_served")
        else:
            with in_process.serve(base, timeout, output) as target:
                yield target

    monkeypatch.setattr(validation, "serve", serve)


@pytest.fixture
def copy(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy"))


def test_a_good_servable_is_blessed_and_pushed(gate, copy, examples):
    """With an item more in the catalogue; each check tells what it found."""
    _add_item_40(examples)
    found, pushed = gate(copy)
    assert pushed and found.faults() == []
    assert [check.name for check in found.checks] == ["load", "signatures", "answers", "ids", "latency"]
    # Histories of 1 and 20 events and both of them together, to six signatures.
    assert found.checks[2].told == "18 requests"
    assert found.checks[4].told.endswith(" ms, of 250 allowed") and all(check.seconds > 0 for check in found.checks)


@pytest.mark.usefixtures("in_this_process")
def test_answers_that_are_too_slow_are_not_pushed(gate, good, examples):
    _add_item_40(examples)
    found, pushed = gate(good, PushConfig(latency_budget_ms=0.001))
    assert not pushed and [check.name for check in found.checks if not check.passed] == ["latency"]
    assert len(found.faults()) == 12  # each of the requests of one user
    assert "serving_default of 20 events takes " in found.faults()[1]
    assert "more than serving.latency_budget_ms = 0.001 allows" in found.faults()[1]


@pytest.mark.usefixtures("in_this_process")
def test_an_item_that_the_catalogue_does_not_have_is_not_pushed(gate, copy):
    (copy / "assets" / "item").write_text("".join(f"item {one}\n" for one in range(2, ITEMS + 2)))
    found, pushed = gate(copy)
    assert not pushed and [check.name for check in found.checks] == ["load", "signatures", "answers", "ids"]
    assert any("items in another category than the catalogue's were answered: item" in fault
               for fault in found.faults())


@pytest.mark.usefixtures("in_this_process")
def test_a_probability_that_is_not_a_number_is_not_pushed(gate, copy):
    variables = shaken_model().inference_variables
    place = next(place for place, one in enumerate(variables) if "short" in one.name and len(one.shape) == 2)
    file = str(copy / "variables" / "variables")
    reader = tf.train.load_checkpoint(file)
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    values[f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE"] *= np.float32(np.nan)
    tf.raw_ops.SaveV2(prefix=file, tensor_names=[*values], shape_and_slices=[""] * len(values),
                      tensors=[*values.values()])
    found, pushed = gate(copy)
    assert not pushed and found.checks[-1].name == "answers"
    assert "answers: predict_category of 20 events: probability must be finite, got nan at rank 1" in found.faults()


@pytest.mark.usefixtures("in_this_process")
def test_a_wrong_signature_is_not_pushed(gate, copy):
    graph = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    signatures = graph.meta_graphs[0].signature_def
    signatures["serving_default"].outputs["scores"].CopyFrom(signatures["serving_default"].outputs["score"])
    del signatures["serving_default"].outputs["score"]
    (copy / "saved_model.pb").write_bytes(graph.SerializeToString())
    shutil.rmtree(copy / "assets.extra")  # warm-up requests, most of the time to load: only right signatures are asked
    found, pushed = gate(copy)
    assert not pushed and found.faults() == [
        "signatures: serving_default must have an output score, but has none",
        "signatures: serving_default has an output scores that the contract does not know"]


@pytest.mark.usefixtures("in_this_process")
def test_every_servable_is_validated_and_pushed_under_one_number(gate, good, examples, tmp_path):
    _add_item_40(examples)
    found, pushed = gate(good, ulim_encoder=good)
    assert pushed and [check.name for check in found.checks[5:]] == [
        f"ulim_encoder {name}" for name in ("load", "signatures", "answers", "ids", "latency")]
    [version], [other] = ([one for one in (tmp_path / name).iterdir() if one.is_dir()]
                          for name in ("base", "ulim_encoder"))
    assert version.name == other.name and (other / "saved_model.pb").is_file()


@pytest.mark.usefixtures("in_this_process")
def test_nothing_is_pushed_where_one_servable_has_a_fault(gate, copy, good, examples, tmp_path):
    _add_item_40(examples)
    shutil.rmtree(copy / "assets.extra")
    found, pushed = gate(good, ulim_gpu=copy)
    assert not pushed and not (tmp_path / "ulim_gpu").exists()
    assert [check.name for check in found.checks if not check.passed] == ["ulim_gpu answers"]


def _spoil_variables(servable: Path) -> None:
    [shard] = (servable / "variables").glob("*.data-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)


def test_a_spoilt_shard_of_variables_is_not_pushed(gate, copy):
    _spoil_variables(copy)
    _cannot_be_loaded(gate(copy), "failed to load: DataLossError: .*[Cc]hecksum")


@pytest.mark.usefixtures("in_this_process")
def test_a_missing_vocabulary_is_not_pushed(gate, copy):
    (copy / "assets" / "item").unlink()
    _cannot_be_loaded(gate(copy), "failed to load: .*assets/item; No such file")


def _cannot_be_loaded(answer: tuple[validation.Validation, bool], message: str) -> None:
    found, pushed = answer
    [fault] = found.faults()
    assert not pushed and [check.name for check in found.checks] == ["load"] and fault.startswith("load: ")
    assert re.search(message, fault), fault


@pytest.mark.usefixtures("in_this_process")
def test_warm_up_requests_that_are_missing_are_told(gate, copy):
    shutil.rmtree(copy / "assets.extra")
    found, pushed = gate(copy)
    assert not pushed and "the warm-up requests cannot be read: a servable must hold warm-up" in found.faults()[0]


def test_time_to_load_is_bounded(good):
    found = validation.validate(str(good), FeaturesConfig(), [], PushConfig(load_seconds=0.01))
    assert "no version was served after 0.01 seconds" in found.faults()[0]


def _add_item_40(examples) -> None:
    with tf.io.TFRecordWriter(f"{examples.uri}/Split-catalog/more.gz", "GZIP") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in (
                ("catalog_item_id", b"item 40"), ("catalog_category_id", b"category %d" % ITEM_CATEGORY[40]))
        })).SerializeToString())
