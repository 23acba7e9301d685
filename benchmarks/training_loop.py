"""The one loop that trains every neural model of the benchmark: to the best validation score, or for so many steps."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When to look at the validation score and when to stop.

    Attributes:
        most: steps of the longest training.
        every: steps between two scores.
        patience: scores in a row without a new best after which training stops.
    """

    most: int
    every: int
    patience: int


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: after which the weights that the model now has were reached.
        minutes: wall-clock to that step, without the scoring.
        history: (step, minutes, validation score) of each look; empty without validation.
    """

    steps: int
    minutes: float
    history: list[tuple[int, float, float]]


def train(model: keras.Model, dataset: tf.data.Dataset, schedule: Schedule, *, score: Callable[[], float] | None = None,
          steps: int | None = None, name: str = "") -> Trained:
    """Trains a compiled model; with `score`, it ends with the weights of the best score.

    Args:
        model: compiled.
        dataset: endless batches.
        schedule: of the scores. With `steps`, only its `every` counts, for the progress lines.
        score: validation score of the model as it is, the higher the better.
        steps: trains exactly so many instead.
        name: of the progress lines.

    Raises:
        ValueError: both `score` and `steps`, or neither.
        RuntimeError: the loss stopped being a number.
    """
    if (score is None) == (steps is None):
        raise ValueError(f"train needs either a validation score to stop by or a number of steps, got score={score} "
                         f"and steps={steps}. Give one of the two.")
    watch = _Watch(schedule, score, name)
    model.fit(dataset, steps_per_epoch=steps or schedule.most, verbose=0, callbacks=[watch])
    if watch.best is not None:
        model.set_weights(watch.best)
    return Trained(watch.best_step if score else steps, (watch.best_seconds if score else watch.seconds) / 60,
                   watch.history)


class _Watch(keras.callbacks.Callback):
    """Scores the model every so many steps, keeps the best weights, and stops when they stay the best."""

    def __init__(self, schedule: Schedule, score: Callable[[], float] | None, name: str):
        super().__init__()
        self._schedule, self._score, self._name = schedule, score, name
        self.best, self.best_step, self.best_seconds = None, 0, 0.0
        self.history: list[tuple[int, float, float]] = []
        self.seconds = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        step = batch + 1
        last = step == self.params["steps"]
        if step % self._schedule.every and not last:
            return
        self.seconds += time.monotonic() - self._start
        if not np.isfinite(logs["loss"]):
            raise RuntimeError(f"the loss of {self._name} is {logs['loss']} at step {step}. Lower its learning rates.")
        line = f"    {self._name}: step {step:,}, {self.seconds:.0f} s, loss {logs['loss']:.4f}"
        if self._score:
            score = self._score()
            line += f", validation {score:.4f}"
            if score > max((past for _, _, past in self.history), default=-np.inf):
                self.best, self.best_step, self.best_seconds = self.model.get_weights(), step, self.seconds
            self.history.append((step, self.seconds / 60, score))
            if step - self.best_step >= self._schedule.patience * self._schedule.every:
                self.model.stop_training = True
        print(line, flush=True)
        self.model.reset_metrics()
        self._start = time.monotonic()
