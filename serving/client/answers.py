"""What a server answers, typed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from serving import contract


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


def recommendations(row: Mapping[str, Any]) -> list[Recommendation]:
    """Of one row of the outputs of `serving_default` or `retrieve`."""
    return [Recommendation(item.decode(), category.decode(), contract.CHANNELS[channel], score)
            for item, category, channel, score in zip(
                row[contract.ITEM_ID][:row[contract.COUNT]], row[contract.CATEGORY_ID], row[contract.CHANNEL],
                row[contract.SCORE])]


def category_predictions(row: Mapping[str, Any]) -> list[CategoryPrediction]:
    """Of one row of the outputs of `predict_category`."""
    return [CategoryPrediction(category.decode(), probability, copy_share) for category, probability, copy_share
            in zip(row[contract.CATEGORY_ID], row[contract.PROBABILITY], row[contract.COPY_SHARE])]
