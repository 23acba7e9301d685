"""How long a training step takes, and how much of it is the input pipeline's."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import time
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

WARM_UP = 5


@dataclasses.dataclass(frozen=True)
class StepTiming:
    """Medians over steps, in milliseconds.

    Attributes:
        step_ms: a step in the training loop: getting its batch, which another thread may have made, and training on it.
        blocked_ms: of it, waiting for the batch.
        draw_ms: making a batch while nothing else runs, so that no training step hides it.
        batches: the last batches that were trained on, for counting samples.
    """

    step_ms: float
    blocked_ms: float
    draw_ms: float
    batches: list[Any]


def time_steps(model: keras.Model, dataset: tf.data.Dataset, steps: int) -> StepTiming:
    """Trains a compiled model for some steps, then draws as many batches alone.

    Args:
        model: compiled.
        dataset: endless batches, as `fit` takes them.
        steps: timed ones, after a few of warm-up.
    """
    train_step = tf.function(model.train_step, input_signature=[dataset.element_spec], autograph=False)
    asked, ready, done, trained_on = [], [], [], []
    batches = iter(dataset)
    for _ in range(WARM_UP + steps):
        asked.append(time.perf_counter())
        trained_on.append(next(batches))
        ready.append(time.perf_counter())
        train_step(trained_on[-1])["loss"].numpy()  # waits for the step's end
        done.append(time.perf_counter())

    drawn = []
    batches = iter(dataset)  # stops the one before, and its thread
    for _ in range(WARM_UP + steps):
        drawn.append(time.perf_counter())
        next(batches)

    def median(end: list[float], start: list[float]) -> float:
        return 1000 * float(np.median(np.subtract(end, start)[WARM_UP:]))

    return StepTiming(median(done, asked), median(ready, asked), median(drawn[1:], drawn[:-1]), trained_on[WARM_UP:])
