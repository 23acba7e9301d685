"""What a training has come to so far: goes into its checkpoints, its curves and its summary file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import json

import tensorflow as tf

SUMMARY_FILE = "training.json"


@dataclasses.dataclass
class History:
    """Curves of a training, a row each time it reports.

    Attributes:
        steps: of the whole training.
        losses: step, mean losses since the row before and learning rate.
        validation: step and recall of each look at the users who keep a basket.
        warm_start: whether it began with the weights of an earlier model.
    """

    steps: int
    losses: list[dict[str, float]] = dataclasses.field(default_factory=list)
    validation: list[dict[str, float]] = dataclasses.field(default_factory=list)
    warm_start: bool = False

    @property
    def best(self) -> dict[str, float] | None:
        """The first row of `validation` with the highest recall; None before there is one."""
        return max(self.validation, key=lambda row: row["recall"], default=None)

    def looks_since_best(self) -> int:
        """Rows of `validation` after the best one; 0 before there is one."""
        best = self.best
        return len(self.validation) - 1 - self.validation.index(best) if best else 0

    def text(self) -> str:
        """JSON, which `from_text` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "History":
        """Reads what `text` wrote."""
        return cls(**json.loads(text))

    def save(self, file: str, steps: int) -> None:
        """Writes the summary: the curves, after how many `steps` training ended and whose weights were taken."""
        taken = self.best["step"] if self.best else steps
        with tf.io.gfile.GFile(file, "w") as summary:
            summary.write(json.dumps({**dataclasses.asdict(self), "trained_steps": steps, "weights_of_step": taken},
                                     indent=1))


class Curves:
    """The rows of a history as TensorBoard's scalars: losses, learning_rate and validation_recall.

    Args:
        directory: where the event file goes.
    """

    def __init__(self, directory: str):
        self._writer = tf.summary.create_file_writer(directory)

    def add(self, row: dict[str, float], prefix: str = "") -> None:
        """One row; "step" is where it stands."""
        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name != "step":
                    tf.summary.scalar(prefix + name, value)
        self._writer.flush()
