import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.ulim_tf.examples import item_categories, write_users
from tests.ulim_tf.untraced import untraced
from ulim_tf import config as settings
from ulim_tf import data, history
from ulim_tf.exact_scores import ExactScorer
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 24, 4
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 20, "short": 6, "subsequence": 4},
    "model": {"width": 8, "heads": 2, "hidden": 16, "item_vectors": "learned"},
    "loss": {"category_negatives": 5, "pool_negatives": 10},
    "training": {"moments": 16, "moments_per_user": 2, "targets": 3, "seed": 5, "learning_rate": 0.01, "steps": 200}})


def open_users(directory: Path) -> tf.data.Dataset:
    """Twenty users who each buy of three items of their own."""
    rng = np.random.default_rng(0)
    favourites = [rng.choice(np.arange(1, ITEMS + 1), 3, replace=False) for _ in range(20)]
    file = directory / "users.gz"
    write_users(file, [[rng.choice(mine, rng.integers(1, 4), replace=False).tolist() for _ in range(6)]
                       for mine in favourites], ITEM_CATEGORY)
    return data.training_dataset([str(file)], tf.constant(ITEM_CATEGORY), CONFIG.history, CONFIG.training)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> tf.data.Dataset:
    return open_users(tmp_path_factory.mktemp("users"))


def mixed_batch(dataset: tf.data.Dataset) -> dict[str, tf.Tensor]:
    """One with both users who have a history and users who have none."""
    def is_mixed(batch: dict[str, tf.Tensor]) -> bool:
        empty = batch[history.SHORT_LENGTH].numpy() == 0
        return empty.any() and not empty.all()

    return next(batch for batch in dataset.take(100) if is_mixed(batch))


def make(config: settings.UlimConfig = CONFIG) -> UlimModel:
    keras.utils.set_random_seed(config.training.seed)
    model = UlimModel(config, ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    return model


def gradients(model: UlimModel, batch: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch)
    found = tape.gradient(loss, model.trainable_variables)
    return {f"{place} {variable.name}": None if gradient is None else tf.convert_to_tensor(gradient).numpy()
            for place, (variable, gradient) in enumerate(zip(model.trainable_variables, found))}


def test_the_gradient_reaches_every_trainable_variable(dataset):
    batch = mixed_batch(dataset)
    unreached = [name for name, gradient in gradients(make(), batch).items()
                 if gradient is None or not np.abs(gradient).max() > 0]
    assert unreached == []


@pytest.mark.parametrize("part", ["alpha", "beta", "gamma"])
def test_each_loss_has_its_weight(dataset, part):
    batch = next(iter(dataset))
    off = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0}
    names = {"alpha": "long", "beta": "short", "gamma": "category"}

    def loss(weights: dict[str, float]) -> tuple[float, float]:
        model = make(dataclasses.replace(CONFIG, loss=dataclasses.replace(CONFIG.loss, **weights)))
        total = float(model.compute_loss(batch))
        return total, float(model.loss_parts[names[part]].result())

    total, value = loss({**off, part: 2.0})
    assert total == pytest.approx(2.0 * value, rel=1e-6) and total > 0


def test_training_on_a_few_users_learns_them(dataset):
    model = make()
    model.compile()
    losses = model.fit(dataset, steps_per_epoch=40, epochs=4, verbose=0).history
    # A model that knows nothing spreads its probability evenly over what it chooses from.
    for name, choices in (("long", ITEMS / CATEGORIES), ("short", ITEMS), ("category", CATEGORIES)):
        assert losses[f"{name}_loss"][-1] < 0.8 * np.log(choices), name


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for _ in range(2):
        model = make()
        model.compile()
        with untraced():
            model.fit(open_users(tmp_path), steps_per_epoch=5, epochs=1, verbose=0)
        weights.append(model.get_weights())
    for one, two in zip(*weights):
        np.testing.assert_array_equal(one, two)


def expected_nll(model: UlimModel, vector: np.ndarray, target: np.ndarray, choices: list[np.ndarray],
                 with_category: bool) -> list[float]:
    """-log of each target's share of the softmax over its choices."""
    item, category, bias = (table.numpy() for table in (
        model.embedding.item_table, model.embedding.category_table, model.embedding.bias_table))

    def score(row: np.ndarray, of: np.ndarray) -> np.ndarray:
        return (item[of] + with_category * category[ITEM_CATEGORY[of]]) @ row[:-1] + bias[of]

    return [float(np.log(np.exp(score(row, among)).sum()) - score(row, np.array([wanted]))[0])
            for row, wanted, among in zip(vector, target, choices)]


@pytest.mark.parametrize("shared", [True, False])
def test_a_category_without_more_items_than_negatives_gives_its_full_softmax(shared):
    config = dataclasses.replace(CONFIG, loss=dataclasses.replace(CONFIG.loss, category_negatives=6))
    model, rng = make(config), np.random.default_rng(0)
    model.embedding.bias_table.assign(rng.normal(size=ITEMS + 1))
    vector = np.c_[rng.normal(size=(5, 8)), np.ones(5)].astype(np.float32)
    target = np.array([1, 5, 2, 9, 4])  # three of category 1, in between others
    members = [np.flatnonzero(ITEM_CATEGORY[wanted] == ITEM_CATEGORY) for wanted in target]
    got = model._in_category_nll(tf.constant(vector), tf.constant(target), tf.constant(ITEM_CATEGORY[target]), shared)
    np.testing.assert_allclose(got, expected_nll(model, vector, target, members, with_category=False), rtol=1e-5)


def test_a_pool_drawn_whole_gives_the_full_softmax():
    model, rng = make(dataclasses.replace(CONFIG, loss=dataclasses.replace(CONFIG.loss, pool_negatives=ITEMS))), (
        np.random.default_rng(0))
    vector = np.c_[rng.normal(size=(2, 8)), np.ones(2)].astype(np.float32)
    target = np.array([3, 24])
    got = model._whole_pool_nll(tf.constant(vector), tf.constant(target))
    everything = [np.arange(1, ITEMS + 1)] * 2
    np.testing.assert_allclose(got, expected_nll(model, vector, target, everything, with_category=True), rtol=1e-5)


@pytest.mark.parametrize(("section", "field", "value"), [
    ("loss", "short_negatives", "in_category"), ("loss", "long_negatives", "whole_pool"),
    ("loss", "long_negatives", "per_target"), ("model", "long_term_query", "subsequence"),
    ("model", "item_pointer", False), ("model", "category_pointer", False), ("model", "category_generator", False),
    ("model", "short_term_attention", False)])
def test_each_ablation_trains_and_is_saved(dataset, tmp_path, section, field, value):
    changed = dataclasses.replace(getattr(CONFIG, section), **{field: value})
    one, other = make(), make(dataclasses.replace(CONFIG, **{section: changed}))
    batch = next(iter(dataset))
    for model in (one, other):
        tf.random.set_seed(1)
        model.compute_loss(batch)
    assert any(float(one.loss_parts[name].result()) != float(other.loss_parts[name].result())
               for name in one.loss_parts)
    assert all(np.isfinite(float(part.result())) for part in other.loss_parts.values())
    other.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for saved, again in zip(other.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, again)


def test_pgin_without_its_pointer_or_its_generator(dataset):
    batch = mixed_batch(dataset)
    with_history = batch[history.SHORT_LENGTH].numpy() > 0

    def predict(**switches: bool) -> dict[str, np.ndarray]:
        model = make(dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **switches)))
        return {name: value.numpy() for name, value in model(batch).items()}

    assert not predict(category_pointer=False)["copied"].any()
    copies = predict(category_generator=False)
    np.testing.assert_allclose(copies["copied"].sum(axis=1), with_history, atol=1e-5)
    np.testing.assert_allclose(copies["probability"].sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(("item_vectors", "moves"), [("fixed", False), ("started", True), ("learned", True)])
def test_item_vectors_move_where_they_are_learned(dataset, item_vectors, moves):
    model = make(dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, item_vectors=item_vectors)))
    given = np.random.default_rng(0).normal(size=[ITEMS + 1, CONFIG.model.width]).astype(np.float32)
    model.set_item_vectors(given)
    model.compile(run_eagerly=True)  # tracing takes longer than two steps
    model.fit(dataset, steps_per_epoch=2, verbose=0)
    assert (model.embedding.item_table.numpy() == given).all() != moves
    with pytest.raises(ValueError, match=r"vectors must have shape \[V \+ O \+ 1, D\] = \[\d+, 8\], got \[3, 8\]"):
        model.set_item_vectors(given[:3])


def test_popularity_starts_the_bias_and_moves_it_to_that_of_late():
    model, events, recent = make(), np.arange(ITEMS + 1), np.zeros(ITEMS + 1, int)
    recent[[3, 7]] = 3, 2
    model.set_popularity(events)
    np.testing.assert_allclose(model.embedding.bias_table, np.log(1 + events), rtol=1e-6)
    model.follow_popularity(events, recent)
    of_late = recent * (300 / 5)  # 300 events in all, 5 of them of late
    np.testing.assert_allclose(model.embedding.bias_table, np.log(1 + events) + np.log((of_late + 20) / (events + 20)),
                               rtol=1e-5)
    before = model.embedding.bias_table.numpy()
    model.follow_popularity(events, np.zeros(ITEMS + 1, int))
    np.testing.assert_array_equal(model.embedding.bias_table, before)


CONTENT = np.zeros((ITEMS + 1, 2), np.int64)


@pytest.mark.parametrize(("built_with", "given", "message"), [
    ({}, CONTENT, r"item_content must have shape \[V \+ 1, P\] = None .* got \(25, 2\)"),
    ({"content": 3, "tokens": 2}, None, r"= \(25, 2\) .* got None"),
    ({"content": 3, "tokens": 2}, CONTENT + 4, r"in 0..A = 0..3, got 4..4")])
def test_wrong_content_is_refused(built_with, given, message):
    with pytest.raises(ValueError, match=message):
        UlimModel(CONFIG, ITEMS, CATEGORIES, **built_with).set_catalog(ITEM_CATEGORY, given)


def test_a_saved_model_answers_the_same(dataset, tmp_path):
    model = make()
    model.compile(run_eagerly=True)  # tracing takes longer than two steps
    model.fit(dataset, steps_per_epoch=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.settings == CONFIG
    batch = next(iter(dataset))
    moments = {name: value for name, value in batch.items() if not name.startswith("target")}
    for name, value in model(moments).items():
        np.testing.assert_array_equal(loaded(moments)[name], value, err_msg=name)
    wanted = tf.gather(model.embedding.item_category, batch[data.TARGET_ITEM])
    short = model.short_interest(moments)
    for one, other in zip(loaded.long_interests(short, wanted, batch), model.long_interests(short, wanted, batch)):
        np.testing.assert_array_equal(one, other)


def test_the_long_vector_reads_only_its_own_subsequence(dataset):
    """Changing another category's events leaves v_l alone; changing its own does not."""
    model = make()
    short = tf.random.stateless_normal([1, 8], [1, 2])
    wanted = tf.constant([[1, 2]], tf.int64)

    def vectors(second_item: int) -> np.ndarray:
        long = model.long_interests(short, wanted, {
            history.SUBSEQUENCE_ITEM: tf.constant([[[1, 5], [2, second_item]]], tf.int64),
            history.SUBSEQUENCE_AGE: tf.zeros([1, 2, 2], tf.int64),
            history.SUBSEQUENCE_LENGTH: tf.constant([[2, 2]], tf.int64)})
        return long.vector.numpy()[0]

    one, other = vectors(6), vectors(10)
    np.testing.assert_array_equal(one[0], other[0])
    assert np.abs(one[1] - other[1]).max() > 1e-4


def test_copies_are_the_attention_of_an_items_events():
    model = make()
    long = model.long_interests(tf.random.stateless_normal([1, 8], [1, 2]), tf.constant([[1, 2, 3]], tf.int64), {
        history.SUBSEQUENCE_ITEM: tf.constant([[[1, 5, 1], [2, 6, 0], [0, 0, 0]]], tf.int64),
        history.SUBSEQUENCE_AGE: tf.constant([[[90, 8, 7], [6, 5, 0], [0, 0, 0]]], tf.int64) * 10**5,
        history.SUBSEQUENCE_LENGTH: tf.constant([[3, 2, 0]], tf.int64)})
    attention = long.attention.numpy()
    assert long.item.numpy().tolist() == [1, 5, 1, 2, 6] and long.owner.numpy().tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(
        long.copied(tf.constant([[1, 6, 3]], tf.int64)), [[attention[0] + attention[2], attention[4], 0]], rtol=1e-6)
    assert (long.gate.numpy() > 0).tolist() == [[True, True, False]]


def test_without_the_item_pointer_nothing_is_copied(dataset):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, item_pointer=False))
    batch, model = next(iter(dataset)), make(config)
    category = tf.gather(model.embedding.item_category, batch[data.TARGET_ITEM])
    long = model.long_interests(model.short_interest(batch), category, batch)
    assert not long.gate.numpy().any()
    assert np.isfinite(float(model.compute_loss(batch)))


def test_buckets_have_rows_of_no_category_and_keep_them_in_another_catalogue():
    model = UlimModel(dataclasses.replace(CONFIG, vocabulary=settings.VocabularyConfig(2, 3)), ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    assert model.embedding.item_category.numpy().tolist() == [*ITEM_CATEGORY, 0, 0, 0]
    rng = np.random.default_rng(0)
    vectors, bias = rng.normal(size=[ITEMS + 4, 8]).astype(np.float32), rng.normal(size=ITEMS + 4).astype(np.float32)
    model.set_item_vectors(vectors)
    model.embedding.bias_table.assign(bias)
    other = model.with_catalog(np.append(ITEM_CATEGORY, [2, 1]))
    assert (other.items, other.buckets) == (ITEMS + 2, 3)
    least = [bias[np.flatnonzero(category == ITEM_CATEGORY)].min() for category in (2, 1)]
    np.testing.assert_array_equal(other.embedding.item_table, np.concatenate([
        vectors[:ITEMS + 1], np.zeros([2, 8]), vectors[-3:]]))
    np.testing.assert_array_equal(other.embedding.bias_table, np.concatenate([bias[:ITEMS + 1], least, bias[-3:]]))


def test_an_event_of_a_bucket_is_read_in_the_category_it_stands_in():
    """As one of an item with the same row; the number of the bucket says no category."""
    model = UlimModel(dataclasses.replace(CONFIG, vocabulary=settings.VocabularyConfig(2, 3)), ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    item, bucket, category = 5, ITEMS + 2, int(ITEM_CATEGORY[5])
    rows = model.embedding.item_table.numpy()
    rows[bucket] = rows[item]
    model.set_item_vectors(rows)

    def read(number: int, category: int) -> tuple[np.ndarray, np.ndarray]:
        one = {name: tf.constant([[value]], tf.int64) for name, value in (
            (history.SHORT_ITEM, number), (history.SHORT_CATEGORY, category), (history.SHORT_AGE, 7))}
        short = model.short_interest({**one, history.SHORT_LENGTH: tf.constant([1], tf.int64)})
        long = model.long_interests(short, tf.constant([[category]], tf.int64), {
            history.SUBSEQUENCE_ITEM: tf.constant([[[number]]], tf.int64),
            history.SUBSEQUENCE_AGE: tf.constant([[[7]]], tf.int64),
            history.SUBSEQUENCE_LENGTH: tf.constant([[1]], tf.int64)})
        return short.numpy(), long.vector.numpy()

    for one, other, elsewhere in zip(read(item, category), read(bucket, category), read(bucket, category % 4 + 1)):
        np.testing.assert_array_equal(other, one)
        assert np.abs(elsewhere - one).max() > 1e-4


def test_exact_scores_leave_out_what_is_copied_from_a_bucket():
    model = UlimModel(dataclasses.replace(CONFIG, vocabulary=settings.VocabularyConfig(2, 3)), ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    users = data.StoredUsers({name: tf.RaggedTensor.from_row_lengths(tf.constant(values, tf.int64), [len(values)])
                              for name, values in {
        "event_item_id": [1, ITEMS + 2], "event_timestamp": [100, 200], "event_rank": [0, 1],
        "event_basket_start": [0, 1], "category_id": [1], "category_length": [2]}.items()}, ITEMS)
    asked = [np.array([value]) for value in (0, 2, 300)]
    (scores,) = ExactScorer(model, users)(*asked, at_once=1)
    assert scores.item.shape == scores.long.shape == (1, ITEMS + 1)
    where, category = [tf.constant(one) for one in asked], tf.constant([[1]], tf.int64)
    long = model.long_interests(model.short_interest(users.describe(*where, CONFIG.history)), category,
                                users.subsequences(*where, category, CONFIG.history))
    assert long.item.numpy().tolist() == [1, ITEMS + 2]
    lost = scores.category[0, 1] * float(long.gate[0, 0]) * float(long.attention[1])
    assert lost > 1e-3
    np.testing.assert_allclose(scores.long.sum(), 1 - lost, rtol=1e-5)


@pytest.mark.parametrize(("item_category", "message"), [
    (ITEM_CATEGORY[:-1], r"item_category must have shape \[V \+ 1\] = \(25,\), got \(24,\)"),
    (np.where(np.arange(25) == 7, 0, ITEM_CATEGORY), r"in 1..C = 1..4 after it, got 0 and 0..4"),
    (np.where(np.arange(25) == 7, 5, ITEM_CATEGORY), r"in 1..C = 1..4 after it, got 0 and 1..5"),
    (np.where(np.arange(25) == 0, 1, ITEM_CATEGORY), r"must be 0 at index 0 .* got 1 and 1..4"),
])
def test_a_wrong_catalogue_is_refused(item_category, message):
    with pytest.raises(ValueError, match=message):
        UlimModel(CONFIG, ITEMS, CATEGORIES).set_catalog(item_category)


def test_keras_2_is_selected_or_the_remedy_is_named():
    code = "import os; os.environ.pop('TF_USE_LEGACY_KERAS', None); import tensorflow, ulim_tf"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 1
    assert "Import ulim_tf before tensorflow, or set TF_USE_LEGACY_KERAS=1" in found.stderr
