"""What a client would send of the users of a run: the stored examples of `ulim_tf/features.py` as histories, and these
as the arrays that a server makes of them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract
from serving.client import History, predict_request
from serving.server.tensors import to_array
from ulim_tf import features
from ulim_tf.config import FeaturesConfig


class User(NamedTuple):
    """A user of the examples, and the request that asks for them."""

    user_id: str
    history: History


def read_user(example: bytes, config: FeaturesConfig) -> User:
    """A user as a client would ask for them, from an example as it was before Transform.

    Args:
        example: serialized tf.Example of the split `train` or `eval`.
        config: that the examples were made with.

    Returns:
        Events in the order they happened; `now` is when the held-out basket began, 0 in the split `train`.
    """
    stored = tf.train.Example.FromString(example).features.feature
    by_time = np.argsort(stored[features.EVENT_RANK].int64_list.value)
    item = stored[features.EVENT_ITEM].bytes_list.value
    timestamp = stored[features.EVENT_TIMESTAMP].int64_list.value
    types = None
    if config.event_types:
        names, number = ("", *config.event_types), stored[features.EVENT_TYPE].int64_list.value
        types = [names[number[place]] for place in by_time]
    tokens = dict(token.decode().split("=", 1) for token in stored[features.PROFILE].bytes_list.value)
    return User(stored[features.USER_ID].bytes_list.value[0].decode(), History(
        item_ids=[item[place].decode() for place in by_time], timestamps=[timestamp[place] for place in by_time],
        now=sum(stored[features.TARGET_TIMESTAMP].int64_list.value), event_types=types,
        profile={column: tokens.get(column, "") for column in config.user_profile}))


def read_users(files: Sequence[str], config: FeaturesConfig) -> Iterator[User]:
    """The users of gzipped TFRecord files, as `read_user`."""
    for example in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        yield read_user(example, config)


def to_arrays(histories: Sequence[History]) -> dict[str, np.ndarray]:
    """The inputs of a request about B histories, the same for every signature, as `LoadedModel.predict` takes them."""
    request = predict_request(histories, contract.SIGNATURE_RECOMMEND)
    return {name: to_array(name, tensor) for name, tensor in request.inputs.items()}
