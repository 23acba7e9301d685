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
from tfx.types import standard_artifacts
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


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[UlimModel, Path]:
    """The model that went in, and the folder of what it was read from and of the servable."""
    folder = tmp_path_factory.mktemp("built")
    keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, ITEMS, CATEGORIES, content=2, tokens=1, profile=1)
    model.set_catalog(item_categories(ITEMS, CATEGORIES), np.full([ITEMS + 1, 1], 2))
    (folder / "model" / "Format-Serving").mkdir(parents=True)
    model.save(folder / "model" / "Format-Serving" / "model.keras")
    item, category, content, profile = ([one.encode() for one in ids] for ids in IDS.values())
    transform_runs.analyse(folder, [transform_runs.row(
        catalog_item_id=item, catalog_category_id=category * (ITEMS // CATEGORIES), catalog_content=content,
        catalog_content_length=[1, 1, *[0] * (ITEMS - 2)], profile=profile)])
    build(str(folder))
    return model, folder


def build(folder: str) -> None:
    """Makes <folder>/servable of <folder>/model and <folder>/transform."""
    artifacts = {"model": standard_artifacts.Model(), "transform_graph": standard_artifacts.TransformGraph(),
                 "servable": standard_artifacts.Model()}
    for artifact, name in zip(artifacts.values(), ("model", "transform", "servable")):
        artifact.uri = f"{folder}/{name}"
    servable = artifacts.pop("servable")
    with only():
        Executor().Do({name: [one] for name, one in artifacts.items()}, {"servable": [servable]},
                      {SERVABLES: json.dumps(["ulim"])})


def test_model_and_vocabularies_are_kept_beside_the_servable_and_read_back_equal(built):
    model, folder = built
    artifact = folder / "servable"
    assert (artifact / "Format-Serving" / "saved_model.pb").is_file()
    assert {file.name for file in (artifact / "trained").iterdir()} == {"model.keras", *IDS}
    found = trained.read(str(artifact / "Format-Serving"))
    numbered = tft.TFTransformOutput(str(folder / "transform"))
    for name, ids in IDS.items():
        assert found.vocabularies[name] == numbered.vocabulary_by_name(name)
        assert sorted(found.vocabularies[name]) == sorted(one.encode() for one in ids)
    assert found.model.settings == CONFIG
    assert [weight.name for weight in found.model.weights] == [weight.name for weight in model.weights]
    for weight, again in zip(model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(weight, again, weight.name)


def test_what_the_index_finds_is_kept_too(built):
    artifact = built[1] / "servable"
    facts = index_facts.read(artifact)
    assert (facts.items, facts.categories) == (ITEMS, CATEGORIES)
    assert facts.bytes == sum(file.stat().st_size for file in (artifact / "Format-Serving").rglob("*")
                              if file.is_file())


def test_an_object_store_gets_the_same(built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = in_memory.register(monkeypatch)
    _, folder = built
    for name in ("model", "transform"):
        io_utils.copy_dir(str(folder / name), f"{store}/{name}")
    before = set(folder.rglob("*"))
    build(store)
    local, remote = f"{folder}/servable", f"{store}/servable"
    assert {path.removeprefix(remote) for path in files(remote)} == {
        path.removeprefix(local) for path in files(local)}
    with tf.io.gfile.GFile(f"{remote}/{index_facts.FILE}") as file:
        assert json.load(file)["recall_in_category"] == index_facts.read(Path(local)).recall_in_category
    assert trained.read(f"{remote}/Format-Serving").vocabularies == trained.read(f"{local}/Format-Serving").vocabularies
    assert set(folder.rglob("*")) == before and list(tmp_path.iterdir()) == []


def files(folder: str) -> list[str]:
    return [f"{where}/{name}" for where, _, names in fileio.walk(folder) for name in names]
