"""Recommendations for stored users, in Beam: each is asked as a client would ask for them, one a request.

A batch of users would be answered faster, but not to the last bit as each alone: sums of other shapes round elsewhere.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.utils.shared import Shared

from serving import contract
from serving.histories import read_user, to_arrays
from serving.server.loader import LoadedModel
from ulim_tf.config import FeaturesConfig

SCHEMA = pa.schema([
    ("user_id", pa.string()),
    ("now", pa.int64()),  # the moment that was asked about, unix seconds
    ("item_id", pa.list_(pa.string())),  # best first; the next three go along
    ("score", pa.list_(pa.float32())),
    ("category_id", pa.list_(pa.string())),
    ("channel", pa.list_(pa.string())),
])
USERS = "users"  # a counter

_NAMESPACE = "batch_recommendations"


class Recommend(beam.PTransform):
    """Serialized tf.Examples of the split `train`, as they were before Transform -> rows of SCHEMA.

    Args:
        servable: folder of the SavedModel; each worker process loads it once.
        config: that the examples were made with.
        now: the moment that is asked about, unix seconds; 0 means the time of each user's newest event.
    """

    def __init__(self, servable: str, config: FeaturesConfig, now: int = 0):
        super().__init__()
        self._servable, self._config, self._now = servable, config, now

    def expand(self, examples: PCollection) -> PCollection:
        return examples | beam.ParDo(_Ask(self._servable, self._config, self._now, Shared()))


class _Ask(beam.DoFn):

    def __init__(self, servable: str, config: FeaturesConfig, now: int, shared: Shared):
        super().__init__()
        self._servable, self._config, self._now, self._shared = servable, config, now, shared
        self._users = Metrics.counter(_NAMESPACE, USERS)

    def setup(self) -> None:
        self._model = self._shared.acquire(lambda: LoadedModel(self._servable), tag=self._servable)

    def process(self, example: bytes) -> Iterator[dict[str, Any]]:
        user_id, history = read_user(example, self._config)
        history = dataclasses.replace(history, now=self._now)
        answer = self._model.predict(contract.SIGNATURE_RECOMMEND, to_arrays([history]))
        count = int(answer[contract.COUNT][0])
        self._users.inc()
        yield {
            "user_id": user_id,
            "now": self._now or max(history.timestamps, default=0),
            "item_id": [item.decode() for item in answer[contract.ITEM_ID][0, :count]],
            "score": answer[contract.SCORE][0, :count],
            "category_id": [category.decode() for category in answer[contract.CATEGORY_ID][0, :count]],
            "channel": [contract.CHANNELS[channel] for channel in answer[contract.CHANNEL][0, :count]],
        }
