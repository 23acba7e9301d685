"""A neural baseline as the benchmark sees it: trained on the moments that ULIM is trained on, ranking all items."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras

from benchmarks.baselines.exact_ranking import best_items
from benchmarks.baselines.mind import Mind
from benchmarks.baselines.sequence_model import EVENTS, SequenceModel
from benchmarks.baselines.two_tower import TwoTower
from benchmarks.baselines.youtube_dnn import YouTubeDnn
from benchmarks.training_loop import Schedule, Trained, train
from ulim_tf import data
from ulim_tf.config import HistoryConfig, TrainingConfig
from ulim_tf.event_log import EventLog, HeldOut

HISTORY = HistoryConfig(long=EVENTS, short=EVENTS, subsequence=1)  # these models read the newest events only
SCHEDULE = Schedule(most=4500, every=500, patience=2)
QUICK_SCHEDULE = Schedule(most=600, every=200, patience=2)

_USERS_AT_ONCE = 128
_RECALL_AT = 100


class NeuralCandidate:
    """Implements `benchmarks.candidate.Candidate`.

    Args:
        name: of the row in the table.
        build: makes an untrained model for a log.
    """

    def __init__(self, name: str, build: Callable[[EventLog], SequenceModel]):
        self.name, self._build = name, build

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """As `Candidate`."""
        keras.utils.set_random_seed(seed)
        self.model = self._build(log)
        self.model.compile()
        settings = self.model.settings
        moments = data.training_dataset_in_memory(
            log, HISTORY, TrainingConfig(moments=settings.moments, targets=settings.targets, seed=seed))

        def score() -> float:
            return mean_recall(self.rank(log, validation, _RECALL_AT, exclude_seen=False), validation.target)

        return train(self.model, moments, QUICK_SCHEDULE if quick else SCHEDULE, name=self.name, steps=steps,
                     score=score if validation else None)

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """As `Candidate`, exactly."""
        candidates = self.model.candidates(tf.range(log.items + 1, dtype=tf.int64))
        found = []
        for moments in data.held_out_dataset(log, held, HISTORY, _USERS_AT_ONCE):
            user = held.user[_USERS_AT_ONCE * len(found):][:_USERS_AT_ONCE]
            seen = [log.item[log.history(one)] for one in user] if exclude_seen else None
            found.append(best_items(self.model.interests(moments), candidates, count, seen))
        return np.concatenate(found)


def mean_recall(ranked: np.ndarray, targets: list[np.ndarray]) -> float:
    """Share of each user's targets [n arrays] among the ranked items [n, R], mean over users."""
    return float(np.mean([np.isin(target, row).mean() for row, target in zip(ranked, targets)]))


def candidates() -> list[NeuralCandidate]:
    """Every neural baseline."""
    return [NeuralCandidate("two-tower", TwoTower), NeuralCandidate("YouTubeDNN", YouTubeDnn),
            NeuralCandidate("MIND", Mind)]
