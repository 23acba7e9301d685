"""What the executor leaves beside the servable, from a model and vocabularies in folders."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.dsl.io import fileio
from tfx.types import Artifact, standard_artifacts
from tfx.utils import io_utils

from tests.serving.servables import only
from tests.tfx_pipeline import in_memory, transform_runs
from tests.ulim_tf.examples import item_categories
from tfx_pipeline import trained
from tfx_pipeline.components.index_builder import index_facts
from tfx_pipeline.components.index_builder.executor import SERVABLES, Executor
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 40, 5
CONFIG = settings.from_dict(settings.UlimConfig, {
    "features": {"item_content": ["brand"], "user_profile": ["age"]},
    "history": {"long": 100, "short": 8, "subsequence": 6}, "model": {"width": 8, "heads": 2, "hidden": 16},
    "retrieval": {"categories": 3, "per_category": 4, "short_term": 5, "results": 12, "index": "blocked"}})
IDS = {"item_id": ["tea é", "0", " rum ", *(f"item {one}" for one in range(4, ITEMS + 1))],
       "category_id": [f"category {one}" for one in range(1, CATEGORIES + 1)],
       "content": ["brand=a\tb", "brand=c"], "profile": ["age=45-54"]}


@pytest.fixture
def inputs(tmp_path):
    """A model, and the artifacts that hold it and its vocabularies."""
    keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, ITEMS, CATEGORIES, content=2, tokens=1, profile=1)
    model.set_catalog(item_categories(ITEMS, CATEGORIES), np.full([ITEMS + 1, 1], 2))
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    model.save(tmp_path / "model" / "Format-Serving" / "model.keras")
    item, category, content, profile = ([one.encode() for one in ids] for ids in IDS.values())
    transform_runs.transform(tmp_path, [transform_runs.row(
        catalog_item_id=item, catalog_category_id=category * (ITEMS // CATEGORIES), catalog_content=content,
        catalog_content_length=[1, 1, *[0] * (ITEMS - 2)], profile=profile)])
    artifacts = {"model": standard_artifacts.Model(), "transform_graph": standard_artifacts.TransformGraph()}
    for artifact, folder in zip(artifacts.values(), ("model", "transform")):
        artifact.uri = str(tmp_path / folder)
    return model, artifacts


@pytest.fixture
def built(inputs, tmp_path):
    """The model that went in, and the folder that came out."""
    model, artifacts = inputs
    return model, Path(build(artifacts, str(tmp_path / "servable")))


def build(artifacts: dict[str, Artifact], servable: str) -> str:
    made = standard_artifacts.Model()
    made.uri = servable
    with only():
        Executor().Do({name: [one] for name, one in artifacts.items()}, {"servable": [made]},
                      {SERVABLES: json.dumps(["ulim"])})
    return servable


def test_model_and_vocabularies_are_kept_beside_the_servable_and_read_back_equal(built):
    model, artifact = built
    assert (artifact / "Format-Serving" / "saved_model.pb").is_file()
    assert {file.name for file in (artifact / "trained").iterdir()} == {"model.keras", *IDS}
    found = trained.read(str(artifact / "Format-Serving"))
    numbered = tft.TFTransformOutput(str(artifact.parent / "transform"))
    for name, ids in IDS.items():
        assert found.vocabularies[name] == numbered.vocabulary_by_name(name)
        assert sorted(found.vocabularies[name]) == sorted(one.encode() for one in ids)
    assert found.model.settings == CONFIG
    assert [weight.name for weight in found.model.weights] == [weight.name for weight in model.weights]
    for weight, again in zip(model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(weight, again, weight.name)


def test_what_the_index_finds_is_kept_too(built):
    _, artifact = built
    facts = index_facts.read(artifact)
    assert (facts.items, facts.categories) == (ITEMS, CATEGORIES)
    assert facts.bytes == sum(file.stat().st_size for file in (artifact / "Format-Serving").rglob("*")
                              if file.is_file())


def test_an_object_store_gets_the_same(built, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = in_memory.register(monkeypatch)
    _, local = built
    _, artifacts = inputs
    for name, artifact in artifacts.items():
        io_utils.copy_dir(artifact.uri, f"{store}/{name}")
        artifact.uri = f"{store}/{name}"
    remote = build(artifacts, f"{store}/servable")
    found = {path.removeprefix(remote) for path in files(remote)}
    assert found == {path.removeprefix(str(local)) for path in files(str(local))}
    with tf.io.gfile.GFile(f"{remote}/{index_facts.FILE}") as file:
        assert json.load(file)["recall_in_category"] == index_facts.read(local).recall_in_category
    assert trained.read(f"{remote}/Format-Serving").vocabularies == trained.read(
        str(local / "Format-Serving")).vocabularies
    assert {path.name for path in tmp_path.iterdir()} == {"model", "transform", "temporary", "servable"}


def files(folder: str) -> list[str]:
    return [f"{where}/{name}" for where, _, names in fileio.walk(folder) for name in names]
