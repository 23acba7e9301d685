import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.ulim_tf.examples import item_categories, write_users
from ulim_tf import config as settings
from ulim_tf import data, history
from ulim_tf.model import UlimModel
from ulim_tf.optimizers import LazyAdam

ITEMS, CATEGORIES = 24, 4
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 20, "short": 6, "subsequence": 4},
    "model": {"width": 8, "heads": 2, "hidden": 16},
    "loss": {"category_negatives": 5, "pool_negatives": 10},
    "training": {"moments": 16, "moments_per_user": 2, "targets": 3, "seed": 5}})


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
    batch = next(batch for batch in dataset if tf.reduce_any(batch[history.SHORT_LENGTH] == 0))
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
    model.compile(LazyAdam(0.01))
    losses = model.fit(dataset, steps_per_epoch=40, epochs=4, verbose=0).history
    # A model that knows nothing spreads its probability evenly over what it chooses from.
    for name, choices in (("long", ITEMS / CATEGORIES), ("short", ITEMS), ("category", CATEGORIES)):
        assert losses[f"{name}_loss"][-1] < 0.8 * np.log(choices), name


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for _ in range(2):
        model = make()
        model.compile()
        model.fit(open_users(tmp_path), steps_per_epoch=5, epochs=1, verbose=0)
        weights.append(model.get_weights())
    for one, two in zip(*weights):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("negatives", ["whole_pool", "in_category"])
def test_both_arms_of_short_term_negatives_train(dataset, negatives):
    model = make(dataclasses.replace(CONFIG, loss=dataclasses.replace(CONFIG.loss, short_negatives=negatives)))
    assert np.isfinite(float(model.compute_loss(next(iter(dataset)))))


def test_a_saved_model_answers_the_same(dataset, tmp_path):
    model = make()
    model.compile()
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
