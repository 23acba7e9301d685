"""What one user's ranking is worth, as `ulim_tf/evaluate.py` defines it. Ids are bytes, as in the examples."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np

RANKING_MEASURES = ("recall", "hit_rate", "ndcg")

_HISTORY_SLICES = ((100, "<100"), (500, "100-500"), (1000, "500-1000"))
_NOWHERE = np.iinfo(np.int64).max


def places(ranked: Iterable[bytes], targets: Iterable[bytes]) -> np.ndarray:
    """int64 [T], where each target stands in the ranking, from 0; past any cut-off if it does not."""
    place = {item: number for number, item in enumerate(ranked)}
    return np.array([place.get(target, _NOWHERE) for target in targets], np.int64)


def ranking_values(place: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """Recall, hit rate and NDCG of one user.

    Args:
        place: int64 [T], of `places`; T >= 1.
        at: the cut-offs R.

    Returns:
        float64 [len(RANKING_MEASURES) * len(at)], the measures of the first cut-off first.
    """
    values = []
    for cut in at:
        hits = place[place < cut]
        best = np.sum(1.0 / np.log2(np.arange(min(len(place), cut)) + 2.0))
        values += [len(hits) / len(place), float(len(hits) > 0), np.sum(1.0 / np.log2(hits + 2.0)) / best]
    return np.array(values)


def share_within(place: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """float64 [len(at)], the share of what is looked for, int64 [n] of `places`, among the first of each cut-off."""
    return np.array([np.mean(place < cut) for cut in at])


def without(ranked: Iterable[bytes], seen: Collection[bytes]) -> list[bytes]:
    """The ranking without some items."""
    return [item for item in ranked if item not in seen]


def most_frequent(history: Sequence[bytes], popular: Sequence[bytes], results: int) -> list[bytes]:
    """The items of a history, oldest first, by falling frequency (of equals the newest), then the most popular."""
    newest = {item: number for number, item in enumerate(history)}
    own = sorted(Counter(history).items(), key=lambda counted: (-counted[1], -newest[counted[0]]))
    ranked = [item for item, _ in own[:results]]
    return ranked + without(popular, newest)[:results - len(ranked)]


def history_slice(events: int) -> str:
    """The name of the slice of users with that many events."""
    return next((name for limit, name in _HISTORY_SLICES if events < limit), ">1000")
