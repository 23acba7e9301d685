"""Trains a model to the best validation recall, from where an interrupted training stopped."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math
import time
from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from tfx_pipeline.training.checkpoints import Checkpoints
from tfx_pipeline.training.history import Curves, History
from tfx_pipeline.training.validation import RECALL_AT
from ulim_tf.model import UlimModel

_REPORTS = 20  # progress lines of a run, and points of its curves


class TrainingLoop:
    """The steps of one training, with what they report and keep.

    Args:
        model: compiled, its optimizer built; its `training.steps` is the number of steps.
        directory: of the checkpoints.
        curves: None in a process that does not report.
        recall: measures the validation recall of the model, the same in all processes; None takes the last weights.
        warm_start: whether the model has the weights of an earlier one.
    """

    def __init__(self, model: UlimModel, directory: str, curves: Curves | None,
                 recall: Callable[[], float] | None, warm_start: bool):
        self._model, self._curves, self._recall = model, curves, recall
        self.config = model.settings.training
        self.history = History(self.config.steps, warm_start=warm_start)
        self._best = [tf.Variable(weight) for weight in model.trainable_variables] if recall else []
        self._told = tf.Variable("", dtype=tf.string)
        self._checkpoints = Checkpoints(
            directory, curves is not None, weights=model.inference_variables, optimizer=model.optimizer.variables,
            best=self._best, history=[self._told])

    def run(self, batches: Callable[[int], tf.data.Dataset]) -> int:
        """Trains, and leaves the model with the best weights.

        Args:
            batches: how many batches have been trained on -> those that follow.

        Returns:
            after how many steps training ended.

        Raises:
            RuntimeError: the loss stopped being a number. The checkpoints are kept.
        """
        path = self._checkpoints.restore()
        if path:
            self.history = History.from_text(self._told.numpy().decode())
        start = int(self._model.optimizer.iterations.numpy())
        if path and self._curves:
            print(f"    goes on after step {start:,} of {self.config.steps:,}, from {path}", flush=True)
            for row in self.history.losses:
                self._curves.add(row)
            for row in self.history.validation:
                self._curves.add(row, "validation_")
        if start < self.config.steps and not self._is_over():
            self._model.fit(batches(start), steps_per_epoch=self.config.steps - start, verbose=0,
                            callbacks=[_StopAtNaN(self.config.learning_rate, start), _Report(self, start)])
        ended = int(self._model.optimizer.iterations.numpy())
        if self._recall:
            for weight, best in zip(self._model.trainable_variables, self._best):
                weight.assign(best)
        return ended

    def finish(self) -> None:
        """Removes the checkpoints; to be called once the model is saved."""
        self._checkpoints.remove()

    def report(self, losses: dict[str, float], seconds: float) -> None:
        """Takes the mean losses since the last report."""
        self.history.losses.append({**losses, "learning_rate": float(self._model.optimizer.learning_rate.numpy())})
        if not self._curves:
            return
        self._curves.add(self.history.losses[-1])
        parts = ", ".join(f"{name} {losses[f'{name}_loss']:.3f}" for name in self._model.loss_parts)
        print(f"    step {losses['step']:,} of {self.config.steps:,}, {seconds:.0f} s, mean losses: {parts}",
              flush=True)

    def look(self, step: int) -> bool:
        """Measures the validation recall and writes a checkpoint; whether training is over."""
        if self._recall:
            began, recall = time.monotonic(), self._recall()
            row = {"step": step, "recall": recall}
            self.history.validation.append(row)
            better = self.history.best is row
            if better:
                for best, weight in zip(self._best, self._model.trainable_variables):
                    best.assign(weight)
            if self._curves:
                self._curves.add(row, "validation_")
                print(f"    step {step:,}: validation Recall@{RECALL_AT} {recall:.4f}"
                      f"{', the best so far' if better else ''} ({time.monotonic() - began:.1f} s)", flush=True)
        self._told.assign(self.history.text())
        self._checkpoints.write(step)
        over, best_row = self._is_over(), self.history.best
        if over and best_row and step < self.config.steps and self._curves:
            print(f"    stops: no better recall since step {best_row['step']:,}, "
                  f"{self.config.patience} checkpoints ago", flush=True)
        return over

    def _is_over(self) -> bool:
        return bool(self.config.patience and self.history.validation
                    and self.history.looks_since_best() >= self.config.patience)


class _StopAtNaN(keras.callbacks.Callback):
    """Raises at the first step whose loss is not a number: nothing after it is worth computing or saving."""

    def __init__(self, learning_rate: float, start: int):
        super().__init__()
        self._learning_rate, self._start = learning_rate, start

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise RuntimeError(f"the training loss is not a number any more, at step {self._start + batch + 1:,}. "
                               f"Lower training.learning_rate ({self._learning_rate}).")


class _Report(keras.callbacks.Callback):
    """Tells a loop about its steps, from `start` on."""

    def __init__(self, loop: TrainingLoop, start: int):
        super().__init__()
        self._loop, self._start = loop, start
        steps = loop.config.steps
        self._report_every, self._look_every = math.ceil(steps / _REPORTS), math.ceil(steps / loop.config.checkpoints)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        step = self._start + batch + 1
        last = step == self._loop.config.steps
        if step % self._report_every == 0 or last:
            losses = {name: float(value) for name, value in logs.items()}
            self._loop.report({"step": step, **losses}, time.monotonic() - self._began)
            self.model.reset_metrics()
        if step % self._look_every == 0 or last:
            self.model.stop_training = self._loop.look(step)
