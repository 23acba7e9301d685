"""A servable in a Beam worker: loaded as the server loads it, asked as a client asks it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from serving import contract
from serving.client import History
from serving.histories import to_arrays
from serving.server.loader import LoadedModel


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
        inputs = self._loaded.signature(contract.SIGNATURE_RECOMMEND).inputs
        self._reads_types = contract.EVENT_TYPE in inputs
        self._profile = [name.removeprefix(contract.PROFILE) for name in inputs if name.startswith(contract.PROFILE)]

    def ask(self, histories: Sequence[History]) -> list[Answer]:
        """The answers to a batch of requests. Types and profiles that the servable does not read are left out, and
        those that a history lacks are empty: an earlier servable may have been made with others.

        Raises:
            ServingError: as `LoadedModel.predict`.
        """
        inputs = to_arrays([self._fitted(history) for history in histories])
        ranked = self._loaded.predict(contract.SIGNATURE_RECOMMEND, inputs, [contract.ITEM_ID, contract.COUNT])
        predicted = self._loaded.predict(contract.SIGNATURE_PREDICT_CATEGORY, inputs, [contract.CATEGORY_ID])
        return [Answer(items[:count], categories) for items, count, categories in
                zip(ranked[contract.ITEM_ID], ranked[contract.COUNT], predicted[contract.CATEGORY_ID])]

    def _fitted(self, history: History) -> History:
        types = history.event_types or [""] * len(history.item_ids)
        return dataclasses.replace(history, event_types=types if self._reads_types else None,
                                   profile={column: history.profile.get(column, "") for column in self._profile})
