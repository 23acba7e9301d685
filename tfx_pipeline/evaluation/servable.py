"""A servable in a Beam worker, asked as a client asks it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract

# A SavedModel with a ScaNN index needs ScaNN's ops registered; any other is asked without the package.
with contextlib.suppress(ModuleNotFoundError):
    import scann  # noqa: F401


class Request(NamedTuple):
    """What a user asks with; ids are bytes."""

    item: np.ndarray  # bytes (object) [L], oldest first
    timestamp: np.ndarray  # int64 [L], unix seconds
    now: int  # unix seconds
    event_type: np.ndarray  # bytes (object) [L]; [0] where types are not told apart
    profile: dict[str, bytes]  # column -> value


class Answer(NamedTuple):
    """What the servable says; ids are bytes."""

    item: np.ndarray  # bytes (object) [R' <= R], best first
    category: np.ndarray  # bytes (object) [K], most probable first


class AskedServable:
    """A loaded SavedModel with the signatures of `serving/contract.py`.

    Args:
        directory: holds saved_model.pb.
    """

    def __init__(self, directory: str):
        self._loaded = tf.saved_model.load(directory)  # the signatures hold its variables weakly
        self._recommend = self._loaded.signatures[contract.SIGNATURE_RECOMMEND]
        self._predict_category = self._loaded.signatures[contract.SIGNATURE_PREDICT_CATEGORY]
        self._inputs = self._recommend.structured_input_signature[1]

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to a batch of requests."""
        batch = self._batch(requests)
        ranked, predicted = self._recommend(**batch), self._predict_category(**batch)
        counts, categories = ranked[contract.COUNT].numpy(), predicted[contract.CATEGORY_ID].numpy()
        return [Answer(items[:count], row) for items, count, row in
                zip(ranked[contract.ITEM_ID].numpy(), counts, categories)]

    def _batch(self, requests: Sequence[Request]) -> dict[str, tf.Tensor]:
        length = np.array([len(request.item) for request in requests], np.int32)
        real = np.arange(length.max(initial=0)) < length[:, None]

        def padded(rows: Sequence[np.ndarray], padding: bytes | int, dtype: type) -> tf.Tensor:
            filled = np.full(real.shape, padding, dtype)
            filled[real] = np.concatenate(rows)
            return tf.constant(filled)

        batch = {
            contract.ITEM_ID: padded([one.item for one in requests], b"", object),
            contract.TIMESTAMP: padded([one.timestamp for one in requests], 0, np.int64),
            contract.LENGTH: tf.constant(length),
            contract.NOW: tf.constant([one.now for one in requests], tf.int64),
        }
        if contract.EVENT_TYPE in self._inputs:
            batch[contract.EVENT_TYPE] = padded([one.event_type for one in requests], b"", object)
        for name in self._inputs:
            if name.startswith(contract.PROFILE):
                column = name.removeprefix(contract.PROFILE)
                batch[name] = tf.constant([one.profile.get(column, b"") for one in requests])
        return batch
