"""What a server answers, typed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from serving import contract

Row: TypeAlias = Mapping[str, Any]  # an array, or its one element where an output has no axis but that of requests


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One item to show.

    Attributes:
        item_id: as in the catalogue.
        category_id: the item's category.
        channel: one of `contract.CHANNELS`.
        score: comparable inside one answer; with `retrieval.merge: probability` a log-probability.
    """

    item_id: str
    category_id: str
    channel: str
    score: float


@dataclasses.dataclass(frozen=True)
class WeighedEvent:
    """An event of the history.

    Attributes:
        item_id: of the event.
        timestamp: unix seconds.
        weight: in the long-term attention, 0 to 1.
    """

    item_id: str
    timestamp: int
    weight: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One item to show, and why.

    Attributes:
        recommendation: the item.
        copied: the part of its category's probability that was copied from the history.
        generated: the rest of that probability.
        events: of the history that weigh most for that category, the weightiest first; none where the category was not
            searched.
    """

    recommendation: Recommendation
    copied: float
    generated: float
    events: tuple[WeighedEvent, ...]


@dataclasses.dataclass(frozen=True)
class CategoryPrediction:
    """One category that the user may turn to next.

    Attributes:
        category_id: as in the catalogue.
        probability: of this category.
        copy_share: the part of the probability that was copied from the history, 0 to 1.
    """

    category_id: str
    probability: float
    copy_share: float


@dataclasses.dataclass(frozen=True, eq=False)
class UserEncoding:
    """A user, for a vector store. D is the width of interests, W = D + 1, K the number of categories.

    Attributes:
        interest: float32 [D], what the newest events say.
        short_vector: float32 [W], to search all items with.
        categories: K ids, most probable first.
        probabilities: float32 [K], of the categories.
        long_vectors: float32 [K, W], to search the items of each category with.
    """

    interest: np.ndarray
    short_vector: np.ndarray
    categories: tuple[str, ...]
    probabilities: np.ndarray
    long_vectors: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ItemEncoding:
    """An item, for a vector store.

    Attributes:
        item_id: as asked.
        known: whether the model knows it.
        category_id: the item's category; "" of an unknown one.
        vector: float32 [W], whose dot product with a vector of a `UserEncoding` is the score; 0 of an unknown one.
    """

    item_id: str
    known: bool
    category_id: str
    vector: np.ndarray


def recommendations(row: Row) -> list[Recommendation]:
    """Of one row of the outputs of `serving_default`, `retrieve` or `explain`."""
    count = row[contract.COUNT]
    return [Recommendation(item.decode(), category.decode(), contract.CHANNELS[channel], score)
            for item, category, channel, score in zip(*(
                row[name][:count].tolist()
                for name in (contract.ITEM_ID, contract.CATEGORY_ID, contract.CHANNEL, contract.SCORE)))]


def explanations(row: Row) -> list[Explanation]:
    """Of one row of the outputs of `explain`."""
    return [
        Explanation(recommendation, copied, generated, tuple(
            WeighedEvent(item.decode(), timestamp, weight)
            for item, timestamp, weight in zip(items, timestamps, weights) if item))
        for recommendation, copied, generated, items, timestamps, weights in zip(recommendations(row), *(
            row[name].tolist() for name in (contract.COPIED, contract.GENERATED, contract.EVENT_ITEM_ID,
                                            contract.EVENT_TIMESTAMP, contract.EVENT_WEIGHT)))]


def category_predictions(row: Row) -> list[CategoryPrediction]:
    """Of one row of the outputs of `predict_category`."""
    return [CategoryPrediction(category.decode(), probability, copy_share)
            for category, probability, copy_share in zip(*(
                row[name].tolist() for name in (contract.CATEGORY_ID, contract.PROBABILITY, contract.COPY_SHARE)))]


def user_encoding(row: Row) -> UserEncoding:
    """Of one row of the outputs of `encode_user`."""
    return UserEncoding(row[contract.INTEREST], row[contract.SHORT_VECTOR],
                        tuple(category.decode() for category in row[contract.CATEGORY_ID]),
                        row[contract.PROBABILITY], row[contract.LONG_VECTOR])


def item_encoding(item_id: str, row: Row) -> ItemEncoding:
    """Of one row of the outputs of `encode_item`."""
    return ItemEncoding(item_id, bool(row[contract.KNOWN]), row[contract.CATEGORY_ID].decode(), row[contract.VECTOR])
