"""What the ScaNN index promises beyond being right."""

import numpy as np
import pytest
import tensorflow as tf

from tests.ulim_tf.retrieval.brute_force import BruteForce
from tests.ulim_tf.retrieval.test_index import SIZES, assert_right, catalogue
from ulim_tf.retrieval.index import Found
from ulim_tf.retrieval.scann_index import ScannIndex

K = 20
CATALOGUE = catalogue(SIZES)
CATEGORIES = CATALOGUE[3]
QUERY = np.random.default_rng(1).normal(size=(CATEGORIES, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel of an index."""
    holder = tf.Module()
    holder.index = ScannIndex(*CATALOGUE)
    search = tf.function(lambda query, category: holder.index.search(query, category, K)._asdict(), autograph=False)
    directory = str(tmp_path_factory.mktemp("saved"))
    tf.saved_model.save(holder, directory, signatures=search.get_concrete_function(
        tf.TensorSpec([None, 8], tf.float32, "query"), tf.TensorSpec([None], tf.int64, "category")))
    return directory


def assert_found(found: Found) -> None:
    for place in range(CATEGORIES):
        assert_right(found, place, BruteForce(*CATALOGUE[:3]).scores(QUERY[place], place + 1), K, QUERY[place])


def test_a_loaded_index_holds_its_vectors_once(saved):
    """ScaNN has them in its own memory; the variables they were restored from are empty then."""
    loaded = tf.saved_model.load(saved)
    for leaves in loaded.index._groups:
        assert {part.numpy().shape for part in leaves.searcher._searcher._parts} == {(0,)}
    search = loaded.signatures["serving_default"]
    assert_found(Found(**search(query=tf.constant(QUERY), category=tf.range(1, CATEGORIES + 1, dtype=tf.int64))))


def test_it_is_loaded_twice(saved):
    first, second = (tf.saved_model.load(saved) for _ in range(2))
    for loaded in (second, first):
        search = loaded.signatures["serving_default"]
        assert_found(Found(**search(query=tf.constant(QUERY), category=tf.range(1, CATEGORIES + 1, dtype=tf.int64))))


def test_a_session_loads_it_as_tf_serving_does(saved):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], saved).signature_def
        tensors = signature["serving_default"]
        answer = session.run({name: tensor.name for name, tensor in tensors.outputs.items()}, {
            tensors.inputs["query"].name: QUERY, tensors.inputs["category"].name: np.arange(1, CATEGORIES + 1)})
    assert_found(Found(*(tf.constant(answer[name]) for name in Found._fields)))


def test_eight_bits_a_dimension_find_nearly_all():
    item, category, vectors, categories = catalogue([400, 30, 3], width=32)
    query = np.random.default_rng(2).normal(size=(90, 32)).astype(np.float32)
    wanted = np.tile([1, 2, 3], 30)
    found = ScannIndex(item, category, vectors, categories, quantised=True).search(
        tf.constant(query), tf.constant(wanted), K)
    oracle = BruteForce(item, category, vectors)
    shares = []
    for place, number in enumerate(wanted):
        expected = list(oracle.scores(query[place], number))[:K]
        shares.append(len(set(expected) & set(found.item[place].numpy().tolist())) / len(expected))
        assert np.isfinite(found.score[place].numpy()).sum() == len(expected)
    assert np.mean(shares) > 0.98
