"""The paper's YouTubeDNN variant: mean-pooled newest events, a DNN, sampled softmax over the whole pool.

Covington, Adams, Sargin: Deep Neural Networks for YouTube Recommendations, RecSys 2016.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf

from benchmarks.baselines.sequence_model import HIDDEN, WIDTH, SequenceModel, Settings
from ulim_tf.event_log import EventLog
from ulim_tf.layers.dnn import dnn


class YouTubeDnn(SequenceModel):
    """One interest: DNN(mean of the newest S events)."""

    def __init__(self, log: EventLog, settings: Settings = Settings()):
        super().__init__(log, settings)
        self.tower = dnn("user_tower", HIDDEN, WIDTH)
        self.tower.build([None, WIDTH])

    def read(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.tower(self.mean_of_behaviours(moments))[:, None, :]
