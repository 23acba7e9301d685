"""Trainings in processes of their own, for `test_training_resume.py` and `test_training_workers.py`.

    python -m tests.tfx_pipeline.training_programs NAME ARGUMENTS...
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.tfx_pipeline import trainer_inputs
from tests.ulim_tf.examples import small_log
from tests.ulim_tf.keras_programs import CONFIG
from tfx_pipeline import trainer
from ulim_tf import config as settings
from ulim_tf import data
from ulim_tf.model import UlimModel
from ulim_tf.optimizers import LazyAdam

ITEMS, CATEGORIES, EXECUTION = 24, 4, "1"


def write_inputs(folder: Path, seed: int = 0) -> trainer_inputs.Inputs:
    """Users who each buy of three items of their own."""
    rng = np.random.default_rng(seed)
    mine = [1 + rng.choice(ITEMS, 3, replace=False) for _ in range(30)]
    baskets = [[rng.choice(items, rng.integers(1, 4), replace=False).tolist() for _ in range(8)] for items in mine]
    return trainer_inputs.write(folder, baskets, ITEMS, CATEGORIES)


def config(**training: Any) -> dict[str, dict[str, Any]]:
    """Settings under which no loss depends on chance, because all items are negatives."""
    sections = settings.to_dict(CONFIG)
    return {**sections, "training": {**sections["training"], **training}}


def train(inputs: str, step: str, training: str, execution: str = EXECUTION) -> None:
    """The Trainer of an execution whose outputs go below the folder `step`."""
    trainer_inputs.number_by(setattr)
    overrides: Mapping[str, Any] = json.loads(training)
    trainer.run_fn(trainer_inputs.fn_args(
        trainer_inputs.Inputs(*(Path(inputs) / name for name in trainer_inputs.Inputs._fields)), Path(step),
        int(execution), config(**overrides), overrides["steps"]))


def one_step(strategy: tf.distribute.Strategy, batch: int, of: int) -> dict[str, list]:
    """What a step of LazyAdam makes of the trainable weights, each of the workers with its own batch of `batch`.

    The same item is in many moments, so a sparse gradient names a row more than once, here and elsewhere.
    """
    log, held = small_log()
    sections = settings.to_dict(CONFIG)
    learned = settings.from_dict(settings.UlimConfig, {**sections, "model": {
        **sections["model"], "item_vectors": "learned"}})
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = UlimModel(learned, log.items, log.categories)
        model.set_catalog(log.item_category)
        # Adam's step is the sign of tiny gradients; with a large epsilon it is as smooth as they are.
        model.compile(LazyAdam(0.1, epsilon=0.01))
    moments = data.held_out_dataset(log, held, CONFIG.history, batch)
    model.fit(strategy.distribute_datasets_from_function(
        lambda context: moments.skip(context.input_pipeline_id).take(1)), epochs=1, steps_per_epoch=of, verbose=0)
    return {weight.name: weight.numpy().tolist() for weight in model.trainable_variables}


def worker(inputs: str, step: str, ports: str, number: str, training: str) -> None:
    """One of several workers: a step that is compared, then a training; writes what it has to <step>/worker-N.json."""
    os.environ["TF_CONFIG"] = json.dumps({
        "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports.split(",")]},
        "task": {"type": "worker", "index": int(number)}})
    stepped = one_step(tf.distribute.MultiWorkerMirroredStrategy(), batch=7, of=1)
    trained = []
    save = trainer._save
    trainer._save = lambda model, *args, **kwargs: (trained.extend(model.get_weights()), save(model, *args, **kwargs))
    train(inputs, step, training)
    Path(step, f"worker-{number}.json").write_text(json.dumps(
        {"step": stepped, "trained": [weight.tolist() for weight in trained]}))


if __name__ == "__main__":
    {"train": train, "worker": worker}[sys.argv[1]](*sys.argv[2:])
