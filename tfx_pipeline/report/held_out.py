"""Held-out users ask a servable for their next categories, in this process."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from serving import contract
from serving.client import History
from serving.histories import read_user, to_arrays
from serving.server.loader import LoadedModel
from tfx_pipeline.catalog_split import item_categories
from tfx_pipeline.report import calibration
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

_BATCH = 64  # users


def category_calibration(servable: str, held_out: Sequence[str], catalog: Sequence[str], config: FeaturesConfig,
                         most: int) -> calibration.Calibration | None:
    """Asks `predict_category` and compares with the held-out baskets.

    Args:
        servable: folder of the SavedModel.
        held_out: gzipped TFRecord files of the split `eval`, as before Transform.
        catalog: those of the split `catalog`.
        config: that the examples were made with.
        most: users to ask; the first of the files.

    Returns:
        None if no user has an item of a known category in the held-out basket.
    """
    category = item_categories(catalog)
    users = list(itertools.islice(_users(held_out, category, config), most))
    if not users:
        return None
    model = LoadedModel(servable)
    try:
        answers = [_ask(model, users[start:start + _BATCH]) for start in range(0, len(users), _BATCH)]
    finally:
        model.close()
    probability, copy_share, share = (np.concatenate(parts) for parts in zip(*answers))
    return calibration.measure(probability, copy_share, share)


def _users(files: Sequence[str], category: dict[bytes, bytes],
           config: FeaturesConfig) -> Iterator[tuple[History, dict[bytes, float]]]:
    """Users' histories, and the share of each category in the held-out basket."""
    for record in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        target = tf.train.Example.FromString(record).features.feature[features.TARGET_ITEM].bytes_list.value
        bought = Counter(category[item] for item in target if item in category)
        if bought:
            yield read_user(record, config).history, {one: n / bought.total() for one, n in bought.items()}


def _ask(model: LoadedModel, users: Sequence[tuple[History, dict[bytes, float]]]
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `calibration.measure` takes, each [B, K]."""
    answer = model.predict(contract.SIGNATURE_PREDICT_CATEGORY, to_arrays([history for history, _ in users]))
    share = np.array([[basket.get(one, 0.0) for one in row]
                      for row, (_, basket) in zip(answer[contract.CATEGORY_ID], users)])
    return answer[contract.PROBABILITY], answer[contract.COPY_SHARE], share
