"""The numbers that a servable gives the ids of a request are those that Transform gave them."""

import shutil

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

from serving.vocabulary import Numbering
from tests.tfx_pipeline import transform_runs
from tfx_pipeline import rare_items
from ulim_tf import features

# Bought as often as their number says; "i0".."i3" are rare where four events are the least.
CATEGORY_OF = {f"i{number}": f"c{number % 3}" for number in range(8)}
ROWS = [transform_runs.user([(f"i{number}", day) for day in range(8) for number in range(day + 1, 8)], CATEGORY_OF)
        | {"profile": [b"home=own", b"age=30"]},
        {**transform_runs.catalog(CATEGORY_OF), "profile": []}]
SETTINGS = [{}, {"least_events": 4}, {"least_events": 4, "oov_buckets": 7}]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def numbered(request, tmp_path_factory):
    """Transform's own numbers of an id in a history, and those of two reloaded numberings: of the graph, of files."""
    folder = tmp_path_factory.mktemp("run")
    output = transform_runs.analyse(folder, ROWS, **request.param)
    layer = output.transform_features_layer()

    def transformed(ids: list[str]) -> list[int]:
        empty = {name: tf.sparse.from_dense(tf.zeros([1, 0], tf.string if name in (
            *features.BYTES, features.PROFILE) else tf.int64)) for name in ROWS[0]}
        rows = layer({**empty, features.EVENT_ITEM: tf.SparseTensor(
            [[0, place] for place in range(len(ids))], tf.constant(ids, tf.string), [1, len(ids)])})
        return rows[features.EVENT_ITEM].values.numpy().tolist()

    transformed(["i0"])  # loads the graph
    held = tf.Module()
    category = tf.Variable(_categories(output, request.param.get("oov_buckets", 0)))
    for name, graph in (("graph", output.transform_savedmodel_dir), ("files", None)):
        numbering = Numbering(
            output.vocabulary_size_by_name("item_id"), request.param.get("oov_buckets", 0),
            *(output.vocabulary_file_by_name(name) for name in ("item_id", "category_id", "profile")),
            rare_items.rare_vocabulary(output), graph)

        def answer(ids: tf.Tensor, tokens: tf.Tensor, numbering=numbering) -> dict[str, tf.Tensor]:
            item = numbering.item(ids)
            return {"item": item, "history": numbering.history(ids), "profile": numbering.profile(tokens),
                    "category": numbering.category_of_item(ids, item, category)}

        held.numbering, held.category = numbering, category
        tf.saved_model.save(held, str(folder / name), signatures=tf.function(answer).get_concrete_function(
            ids=tf.TensorSpec([None, None], tf.string), tokens=tf.TensorSpec([None, None], tf.string)))
    files = sorted(file.name for file in (folder / "graph" / "assets").iterdir())
    rare = ["rare_item_id"] if request.param.get("oov_buckets") else []
    assert files == ["category_id", "item_id", "profile", *rare]
    shutil.move(output.transform_savedmodel_dir, folder / "transform" / "moved")
    loaded = {name: tf.saved_model.load(str(folder / name)) for name in ("graph", "files")}
    yield request.param, transformed, {name: one.signatures["serving_default"] for name, one in loaded.items()}


def _categories(output, buckets: int) -> np.ndarray:
    """Of the numbers 0, 1..V and those of the buckets."""
    item, category = (output.vocabulary_by_name(name) for name in ("item_id", "category_id"))
    return np.array([0, *(1 + category.index(CATEGORY_OF[one.decode()].encode()) for one in item), *[0] * buckets])


IDS = st.one_of(st.sampled_from([*CATEGORY_OF, "", "i8", "i1 ", "é", "\x1f", "i0\x1f1"]), st.text(max_size=5))


@settings(max_examples=40, deadline=None)
@given(ids=st.lists(IDS, min_size=1, max_size=12))
@example(ids=list(CATEGORY_OF))
def test_a_request_is_numbered_as_transform_numbers_histories(numbered, ids):
    config, transformed, served = numbered
    expected = transformed(ids)
    ids_of = tf.constant([ids])
    for name, answer in served.items():
        numbers = answer(ids=ids_of, tokens=tf.zeros([1, 0], tf.string))
        for alias in ("item", "history"):
            assert numbers[alias].numpy().tolist() == [expected], (name, alias)
    items, buckets = (8, 0) if not config else (4, config.get("oov_buckets", 0))
    for one, number in zip(ids, expected):
        if one in CATEGORY_OF and int(one[1]) >= 8 - items:
            assert number == 8 - int(one[1]), "by falling frequency"
        else:
            assert items < number <= items + buckets if buckets else number == 0


def test_categories_are_those_of_the_catalogue_for_rare_items_too(numbered):
    config, _, served = numbered
    ids = [*CATEGORY_OF, "never seen", ""]
    for answer in served.values():
        category = answer(ids=tf.constant([ids]), tokens=tf.zeros([1, 0], tf.string))["category"].numpy()[0]
        if config.get("least_events") and not config.get("oov_buckets"):
            assert category.tolist()[:4] == [0] * 4  # they are left out of histories
            category, ids_known = category[4:], ids[4:-2]
        else:
            ids_known = ids[:-2]
        assert category[-2:].tolist() == [0, 0] and category[:-2].min() > 0
        for one, number in zip(ids_known, category):
            for other, other_number in zip(ids_known, category):
                assert (number == other_number) == (CATEGORY_OF[one] == CATEGORY_OF[other])


def test_profiles_are_numbered_by_the_graph_too(numbered):
    for answer in numbered[2].values():
        numbers = answer(ids=tf.zeros([1, 0], tf.string), tokens=tf.constant([["home=own", "age=31", "age=30"]]))
        assert sorted(numbers["profile"].numpy()[0].tolist()) == [0, 1, 2]
        assert numbers["profile"].numpy()[0, 1] == 0


def test_a_graph_of_other_features_is_refused(tmp_path_factory):
    graph = transform_runs.shared_catalog(tmp_path_factory) / "transform" / "transform_fn"
    with pytest.raises(ValueError, match="transform_graph must transform the feature 'profile', got one of catalog_"):
        Numbering(8, 0, "items", "categories", "profiles", None, str(graph))
