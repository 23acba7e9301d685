import numpy as np
import pytest
import tensorflow as tf

from tests import oracles
from ulim_tf.layers.embeddings import BehaviourEmbedding
from ulim_tf.layers.long_term import LongTermAttention
from ulim_tf.layers.pointer_generator import PointerGenerator
from ulim_tf.layers.short_term import ShortTermEncoder


def normal(rng: np.random.Generator, *shape: int) -> tf.Tensor:
    return tf.constant(rng.normal(size=shape), tf.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_behaviour_is_the_sum_of_its_parts():
    layer = BehaviourEmbedding(items=3, categories=2, width=4)
    layer.build(None)
    item, category, recency = (table.numpy() for table in (
        layer.item_table, layer.category_table, layer.recency_table))
    hour = 3600
    # Octaves of (1 + hours): 59 minutes 0, 1 hour 1, 2 hours 1, 3 hours 2, 1000 years the last.
    for age, bucket in ((0, 0), (hour - 60, 0), (hour + 60, 1), (2 * hour, 1), (3 * hour + 60, 2), (10**10 * 3, 19)):
        got = layer(*(tf.constant([value], tf.int64) for value in (3, 2, age)))
        np.testing.assert_allclose(got[0], item[3] + category[2] + recency[bucket], rtol=1e-5, err_msg=str(age))


def test_content_is_added_to_an_item_and_its_bias_comes_last():
    layer = BehaviourEmbedding(items=2, categories=1, width=4, content=3, tokens=2)
    layer.build(None)
    layer.item_category.assign([0, 1, 1])
    layer.item_content.assign([[0, 0], [2, 3], [1, 0]])
    layer.bias_table.assign([0.0, 5.0, 7.0])
    item, content, category = (table.numpy() for table in (
        layer.item_table, layer.content_table, layer.category_table))
    wanted = tf.constant([1, 2], tf.int64)
    expected = np.stack([item[1] + content[2] + content[3], item[2] + content[1]])
    np.testing.assert_allclose(layer.in_category(wanted), np.c_[expected, [5.0, 7.0]], rtol=1e-6)
    np.testing.assert_allclose(layer.candidate(wanted), np.c_[expected + category[1], [5.0, 7.0]], rtol=1e-6)


def test_without_self_attention_normalised_behaviours_are_averaged(rng):
    layer = ShortTermEncoder(width=6, heads=2, attends=False)
    behaviour = normal(rng, 2, 3, 6)
    pooled = layer(behaviour, tf.constant([2, 3], tf.int64))
    centred = behaviour.numpy() - np.mean(behaviour, axis=-1, keepdims=True)
    normed = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-3)  # Keras's epsilon
    np.testing.assert_allclose(pooled, [normed[0, :2].mean(axis=0), normed[1].mean(axis=0)], rtol=1e-4)


def test_padding_does_not_change_the_short_term_vector(rng):
    layer = ShortTermEncoder(width=8, heads=2)
    behaviour = normal(rng, 1, 3, 8)
    alone = layer(behaviour, tf.constant([3]))
    padded = layer(tf.concat([behaviour, normal(rng, 1, 5, 8) * 100], axis=1), tf.constant([3]))
    np.testing.assert_allclose(padded, alone, atol=1e-5)


def test_no_behaviour_gives_the_learned_short_term_vector(rng):
    layer = ShortTermEncoder(width=4, heads=1)
    layer.build(None)
    layer.empty.assign([1.0, 2.0, 3.0, 4.0])
    assert layer(normal(rng, 1, 3, 4), tf.constant([0])).numpy().tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert layer(normal(rng, 1, 0, 4), tf.constant([0])).numpy().tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_long_term_attention_against_numpy(rng):
    width, lengths = 4, np.array([[3, 0], [1, 2]])
    layer = LongTermAttention(width)
    short, category, behaviour = normal(rng, 2, width), normal(rng, 2, 2, width), normal(rng, 6, width)
    owner = tf.constant(np.repeat(np.arange(4), lengths.ravel()))
    bias = normal(rng, 6)
    asker = tf.stack([short, short], axis=1)
    layer(asker, category, behaviour, owner, bias, tf.constant(lengths))
    layer.null.assign(normal(rng, width))
    pooled, weight = layer(asker, category, behaviour, owner, bias, tf.constant(lengths))
    w_q, w_k, w_v = (dense.kernel.numpy() for dense in (layer.query, layer.key, layer.value))
    start = 0
    for b in range(2):
        for k in range(2):
            h = behaviour.numpy()[start:start + lengths[b, k]]
            if len(h) == 0:
                expected = layer.null.numpy()
            else:
                query = np.concatenate([short.numpy()[b], category.numpy()[b, k]]) @ w_q
                a = oracles.softmax((h @ w_k) @ query / np.sqrt(width) + bias.numpy()[start:start + len(h)])
                np.testing.assert_allclose(weight.numpy()[start:start + len(h)], a, rtol=1e-4)
                expected = a @ (h @ w_v)
            np.testing.assert_allclose(pooled.numpy()[b, k], expected, rtol=1e-4, atol=1e-6)
            start += len(h)


@pytest.fixture
def prediction(rng):
    layer = PointerGenerator(categories=5, width=4, hidden=8)
    category = tf.constant([[2, 4, 0], [3, 1, 5], [0, 0, 0]], tf.int64)
    count = tf.constant([[1, 3, 0], [2, 2, 9], [0, 0, 0]], tf.int64)
    age = tf.constant([[10, 10**6, 0], [5, 6, 7], [0, 0, 0]], tf.int64)
    return layer(normal(rng, 3, 4), category, normal(rng, 3, 3, 4), normal(rng, 3, 3, 4), count, age, age * 2)


def test_the_mixture_sums_to_one_and_never_predicts_the_unknown(prediction):
    np.testing.assert_allclose(tf.reduce_sum(prediction.probability, axis=1), [1, 1, 1], rtol=1e-5)
    assert (prediction.probability.numpy()[:, 0] == 0).all()
    assert (prediction.probability.numpy()[:, 1:] > 0).all()


def test_only_categories_of_the_history_are_copied(prediction):
    assert (prediction.copied.numpy() > 0).tolist() == [
        [False, False, True, False, True, False], [False, True, False, True, False, True], [False] * 6]
    assert (prediction.copied.numpy() <= prediction.probability.numpy()).all()


def test_no_history_closes_the_gate(prediction):
    assert prediction.copied.numpy()[2].tolist() == [0.0] * 6


def test_an_empty_history_needs_no_category_at_all(rng):
    layer = PointerGenerator(categories=2, width=4, hidden=8)
    none = tf.zeros([2, 0], tf.int64)
    got = layer(normal(rng, 2, 4), none, tf.zeros([2, 0, 4]), tf.zeros([2, 0, 4]), none, none, none)
    np.testing.assert_allclose(tf.reduce_sum(got.probability, axis=1), [1, 1], rtol=1e-5)
