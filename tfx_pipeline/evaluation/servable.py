"""A servable in a Beam worker: loaded as the server loads it, asked as a client asks it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from serving import contract
from serving.server.loader import LoadedModel


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
    """A SavedModel with the signatures of `serving/contract.py`.

    Args:
        directory: holds saved_model.pb.
    """

    def __init__(self, directory: str):
        self._loaded = LoadedModel(directory)
        self._inputs = self._loaded.signature(contract.SIGNATURE_RECOMMEND).inputs

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to a batch of requests.

        Raises:
            ServingError: as `LoadedModel.predict`.
        """
        batch = self._batch(requests)
        ranked = self._loaded.predict(contract.SIGNATURE_RECOMMEND, batch, [contract.ITEM_ID, contract.COUNT])
        predicted = self._loaded.predict(contract.SIGNATURE_PREDICT_CATEGORY, batch, [contract.CATEGORY_ID])
        return [Answer(items[:count], categories) for items, count, categories in
                zip(ranked[contract.ITEM_ID], ranked[contract.COUNT], predicted[contract.CATEGORY_ID])]

    def _batch(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        length = np.array([len(request.item) for request in requests], np.int32)
        real = np.arange(length.max(initial=0)) < length[:, None]

        def padded(rows: Sequence[np.ndarray], padding: bytes | int, dtype: type) -> np.ndarray:
            filled = np.full(real.shape, padding, dtype)
            filled[real] = np.concatenate(rows)
            return filled

        batch = {
            contract.ITEM_ID: padded([one.item for one in requests], b"", object),
            contract.TIMESTAMP: padded([one.timestamp for one in requests], 0, np.int64),
            contract.LENGTH: length,
            contract.NOW: np.array([one.now for one in requests], np.int64),
        }
        if contract.EVENT_TYPE in self._inputs:
            batch[contract.EVENT_TYPE] = padded([one.event_type for one in requests], b"", object)
        for name in self._inputs:
            if name.startswith(contract.PROFILE):
                column = name.removeprefix(contract.PROFILE)
                batch[name] = np.array([one.profile.get(column, b"") for one in requests], object)
        return batch
