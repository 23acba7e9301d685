"""Whether PGIN's probabilities come true: predicted probability against what the next baskets held.

A probability of PGIN is the chance that an item of the next basket is of the category, for the loss looks at items. So
what it should equal is the share of the basket's items in the category; how often the category is in the basket at all
is higher, the more so the larger the baskets are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Bin(NamedTuple):
    """The predictions with a probability in [low, high), the last one's 1 included; means over them.

    Attributes:
        low, high: probabilities.
        predictions: how many, at least one.
        probability: predicted.
        share: of a basket's items in the category.
        in_basket: how often the category is in the basket.
        copied: part of the predicted probability that was copied from the history.
    """

    low: float
    high: float
    predictions: int
    probability: float
    share: float
    in_basket: float
    copied: float


class Calibration(NamedTuple):
    """How a servable predicted the categories of n baskets.

    Attributes:
        users: n.
        bins: those that hold a prediction, by rising probability.
        error: mean distance of `probability` and `share` over bins, weighted by predictions.
        probability: mean of a user's whole predicted probability, of K categories.
        share: mean part of a basket's items that are in one of the K.
        copied: part of all probability that was copied from histories.
    """

    users: int
    bins: list[Bin]
    error: float
    probability: float
    share: float
    copied: float


def measure(probability: np.ndarray, copy_share: np.ndarray, share: np.ndarray,
            edges: Sequence[float] = EDGES) -> Calibration:
    """Compares predictions with baskets.

    Args:
        probability: float [n, K], of each user's K predicted categories; n and K at least 1.
        copy_share: float [n, K], the part of each that was copied.
        share: float [n, K], the part of the user's next basket whose items are of the category.
        edges: of the bins, rising, from 0 to 1.

    Raises:
        ValueError: the three are not of one shape, or empty.
    """
    if not probability.size or not probability.shape == copy_share.shape == share.shape:
        raise ValueError("probability, copy_share and share must have one shape [n, K] with n and K at least 1, got "
                         f"{probability.shape}, {copy_share.shape} and {share.shape}. Give a row for each user.")
    place = np.minimum(np.searchsorted(edges, probability, side="right") - 1, len(edges) - 2)
    bins = []
    for number in np.unique(place):
        held = place == number
        mass = probability[held].sum()
        copied = (probability[held] * copy_share[held]).sum() / mass if mass else 0.0
        bins.append(Bin(edges[number], edges[number + 1], int(held.sum()), float(probability[held].mean()),
                        float(share[held].mean()), float((share[held] > 0).mean()), float(copied)))
    return Calibration(
        users=len(probability), bins=bins,
        error=sum(one.predictions * abs(one.probability - one.share) for one in bins) / probability.size,
        probability=float(probability.sum(axis=1).mean()), share=float(share.sum(axis=1).mean()),
        copied=float((probability * copy_share).sum() / probability.sum()))
