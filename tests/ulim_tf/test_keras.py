"""The model is a Keras model like any other: fit and evaluate, callbacks, files, policies, strategies."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.ulim_tf.examples import small_log
from tests.ulim_tf.keras_programs import CONFIG, make
from tests.ulim_tf.untraced import untraced
from ulim_tf import config as settings
from ulim_tf import data
from ulim_tf.model import UlimModel
from ulim_tf.optimizers import LazyAdam

LOG, HELD = small_log()
LOSSES = {"loss", "long_loss", "short_loss", "category_loss"}


def drawn() -> tf.data.Dataset:
    return data.training_dataset_in_memory(LOG, CONFIG.history, CONFIG.training)


def held_out(batch: int = 8) -> tf.data.Dataset:
    return data.held_out_dataset(LOG, HELD, CONFIG.history, batch)


@pytest.fixture(scope="module")
def trained() -> tuple[UlimModel, dict[str, list[float]]]:
    model = make(LOG)
    model.compile()
    return model, model.fit(drawn(), steps_per_epoch=30, epochs=4, validation_data=held_out(), verbose=0).history


def run(*arguments: str, **environment: str) -> dict[str, Any]:
    """A program of `keras_programs.py` in a process of its own."""
    found = subprocess.run([sys.executable, "-m", "tests.ulim_tf.keras_programs", *arguments], text=True,
                           capture_output=True, env={**os.environ, **environment})
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.splitlines()[-1])


def test_fit_reports_every_loss_for_both_data_sets_and_lowers_them(trained):
    _, found = trained
    assert found.keys() == LOSSES | {f"val_{name}" for name in LOSSES}
    assert np.isfinite(list(found.values())).all()
    assert all(found[name][-1] < found[name][0] for name in LOSSES)
    for prefix in ("", "val_"):  # all three weights are 1
        np.testing.assert_allclose(found[f"{prefix}loss"], np.sum(
            [found[f"{prefix}{name}_loss"] for name in ("long", "short", "category")], axis=0), rtol=1e-5)


def test_a_training_step_is_traced_once(trained):
    """The optimizer's variables were made before; Keras would make them in the first step, and trace it again."""
    assert trained[0].train_function.experimental_get_tracing_count() == 1


def test_evaluate_is_the_mean_over_moments_whatever_the_batch(trained):
    model, _ = trained
    whole = model.evaluate(held_out(len(HELD.user)), return_dict=True, verbose=0)
    assert whole.keys() == LOSSES
    for batch in (1, 7):
        found = model.evaluate(held_out(batch), return_dict=True, verbose=0)
        assert found == pytest.approx(whole, rel=1e-5)
    by_moment = [float(model.compute_loss(moment)) for moment in held_out(1)]
    assert whole["loss"] == pytest.approx(np.mean(by_moment), rel=1e-5)


def test_callbacks_work(tmp_path):
    model = make(LOG)
    model.compile(LazyAdam(0.01))  # a rate that a callback may change, unlike a schedule
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e3, restore_best_weights=True)
    found = model.fit(drawn(), steps_per_epoch=3, epochs=9, validation_data=held_out(), verbose=0, callbacks=[
        stop, keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), "val_loss", save_best_only=True),
        keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=1e3)]).history
    assert len(found["loss"]) == 2, "nothing gets better by 1,000, so the second epoch is the last"
    np.testing.assert_allclose(found["lr"], [0.01] * 2, rtol=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)
    best = keras.models.load_model(tmp_path / "best.keras")
    moment = next(iter(held_out()))
    if found["val_loss"][0] < found["val_loss"][1]:
        for name, value in best(moment).items():
            np.testing.assert_array_equal(model(moment)[name], value)
    tags = {value.tag: summary.step for file in (tmp_path / "board").rglob("events*")
            for summary in tf.compat.v1.train.summary_iterator(str(file)) for value in summary.summary.value}
    assert {f"epoch_{name}" for name in LOSSES} <= tags.keys() and tags["epoch_loss"] == 1


def test_a_loaded_model_goes_on_as_the_saved_one_would(tmp_path):
    model = make(LOG)
    model.compile()
    with untraced():
        model.fit(held_out(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LazyAdam and int(loaded.optimizer.iterations) == 3
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    fresh = keras.models.load_model(tmp_path / "model.keras")
    fresh.compile()  # the same weights with a new optimizer
    with untraced():
        for one in (model, loaded, fresh):
            one.fit(held_out(), verbose=0)
    # Negatives come in another order, so sums round in another way.
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(model.get_weights()[0] - fresh.get_weights()[0]).max() > 1e-4, "Adam's state matters here"


def test_a_model_that_was_never_compiled_is_saved_too(tmp_path):
    model = make(LOG)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("file", ["model.weights.h5", "checkpoint"])
def test_weights_alone_are_saved(trained, tmp_path, file):
    model, _ = trained
    model.save_weights(tmp_path / file)
    other = make(LOG)
    other.load_weights(tmp_path / file)
    for one, again in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, again)


def test_a_model_is_made_again_from_its_config():
    config = make(LOG).get_config()
    again = UlimModel.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config and again.settings == CONFIG
    assert (again.items, again.categories) == (LOG.items, LOG.categories)
    with pytest.raises(ValueError, match=r"unknown setting model\.widht"):
        UlimModel.from_config({**config, "config": {"model": {"widht": 8}}})


@pytest.mark.parametrize("optimizer", ["adagrad", keras.optimizers.SGD(0.1, momentum=0.9),
                                       keras.optimizers.legacy.Adam()])
def test_any_optimizer_of_keras_trains_it(optimizer):
    model = make(LOG)
    before = model.get_weights()
    model.compile(optimizer)
    found = model.fit(drawn(), steps_per_epoch=2, verbose=0).history
    assert np.isfinite(found["loss"]).all()
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before, model.get_weights()))


def test_predict_gives_the_outputs_of_every_moment(trained):
    model, _ = trained
    found = model.predict(held_out(7), verbose=0)
    assert {name: value.shape for name, value in found.items()} == {
        "short_vector": (len(HELD.user), CONFIG.model.width + 1),
        "probability": (len(HELD.user), LOG.categories + 1), "copied": (len(HELD.user), LOG.categories + 1)}
    np.testing.assert_allclose(found["probability"].sum(axis=1), 1, rtol=1e-5)


def test_a_whole_step_is_not_compiled_with_xla():
    with pytest.raises(ValueError, match="jit_compile must be False or None, got True"):
        make(LOG).compile(jit_compile=True)


def test_two_replicas_train_and_measure_as_one_device_does():
    found = run("mirrored")
    one, two = found["one"], found["two"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["training_batch"] == [16] and two["training_batch"] == [8, 8]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["fitted"].keys() == LOSSES
    for name, values in one["fitted"].items():
        assert two["fitted"][name] == pytest.approx(values, rel=1e-5)
    for name, expected, step in zip(one["names"], one["step"], two["step"], strict=True):
        np.testing.assert_allclose(step, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    # Not vacuous: the step changed something everywhere but in what no moment of the batch has.
    assert sum(np.abs(step).max() > 1e-6 for step in one["step"]) > 0.8 * len(one["step"])


@pytest.mark.e2e
@pytest.mark.parametrize(("policy", "tolerance", "optimizer"), [
    ("mixed_bfloat16", 2e-2, "LazyAdam"), ("mixed_float16", 2e-3, "LossScaleOptimizerV3")])
def test_mixed_precision(tmp_path, policy, tolerance, optimizer):
    found = run("mixed", policy, str(tmp_path))
    assert set(found["dtypes"].values()) == {"float32"}, found["dtypes"]
    assert found["half"] == ["attention_output", "hidden", "key", "query", "value"]
    assert found["losses"][1] == pytest.approx(found["losses"][0], rel=tolerance)
    assert found["losses"][1] != found["losses"][0], "half precision rounds somewhere"
    assert found["optimizer"] == optimizer
    assert np.isfinite(list(found["fitted"].values())).all()
    assert found["fitted"]["val_loss"][-1] < found["fitted"]["val_loss"][0]
    for one, other in zip(*found["weights"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert (found["score"], found["count"]) == ("float32", 10)


def test_the_same_seed_gives_the_same_weights_in_another_process():
    with ThreadPoolExecutor() as together:
        first, second = together.map(lambda seed: run("weights", PYTHONHASHSEED=seed), ("1", "2"))
    assert first == second


def test_an_unknown_setting_is_refused_when_a_file_is_loaded():
    with pytest.raises(ValueError, match="unknown section"):
        UlimModel(settings.to_dict(CONFIG) | {"modell": {}}, LOG.items, LOG.categories)
