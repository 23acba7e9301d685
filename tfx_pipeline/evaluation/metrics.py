"""TFMA metrics of rankings: means over users, with values of each user from `measures.py`.

They read what `extractor.py` puts into a user's extracts, ids as bytes:

    labels                        [T]  the held-out items
    predictions item_id           [R]  the servable's answer, best first
                category_id       [K]  predicted categories, most probable first
    features    seen              frozenset, the items of the history
                target_category   [T]  the category of each held-out item
                target_in_head    bool [T], whether that is one of the head categories
                popular           the most popular items of the training split, best first
                frequent          the user's own most frequent items, then the most popular
                history           [1]  the slice of the length of the history
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from tfx_pipeline.evaluation import measures

SEEN = "seen"
TARGET_CATEGORY = "target_category"
TARGET_IN_HEAD = "target_in_head"
POPULAR = "popular"
FREQUENT = "frequent"
HISTORY = "history"
ITEMS = "item_id"
CATEGORIES = "category_id"

USERS = "users"
ALL, NOVEL, HEAD, TAIL = "all", "novel", "head", "tail"
SERVED = "served"

_FEATURES = (SEEN, TARGET_CATEGORY, TARGET_IN_HEAD, POPULAR, FREQUENT)


class _User(NamedTuple):
    """The extracts of the module's docstring, of one model."""

    targets: np.ndarray
    predictions: dict[str, np.ndarray]
    features: dict[str, Any]


def ranking_name(measure: str, at: int, ranking: str = SERVED, targets: str = ALL) -> str:
    """The name of a metric of `Ranking`, such as recall@100, novel_recall@20 or popular_recall@100."""
    return "".join(f"{part}_" for part, usual in ((ranking, SERVED), (targets, ALL)) if part != usual) + (
        f"{measure}@{at}")


def over_popular_name(at: int) -> str:
    """The name of the metric of `OverPopular`."""
    return f"recall_over_popular@{at}"


class Ranking(tfma.metrics.Metric):
    """Recall, hit rate and NDCG, named by `ranking_name`, over the users who have such targets.

    Args:
        at: the cut-offs R.
        ranking: served by the servable, or `popular` or `frequent`, the baselines.
        targets: all; novel ones, looked for in the ranking without the items of the history; those in head or in tail
            categories.
    """

    def __init__(self, at: list[int], ranking: str = SERVED, targets: str = ALL, name: str = "ranking"):
        super().__init__(_ranking, at=at, ranking=ranking, targets=targets, name=name)


class CategoryRecall(tfma.metrics.Metric):
    """What share of a basket's categories is among the first K predicted, `category_recall@K`, and of what share of its
    items the category is, `category_item_recall@K`.

    Args:
        at: the cut-offs K.
    """

    def __init__(self, at: list[int], name: str = "category_recall"):
        super().__init__(_category_recall, at=at, name=name)


class OverPopular(tfma.metrics.Metric):
    """`recall_over_popular@R`: the mean recall of the servable, divided by that of the most popular items.

    Where the most popular items find nothing it is infinite, or 0 if the servable does not either.

    Args:
        at: R.
    """

    def __init__(self, at: int, name: str = "over_popular"):
        super().__init__(_over_popular, at=at, name=name)


class Users(tfma.metrics.ExampleCount):
    """`users`: how many there are in a slice.

    Args:
        event_types: the names of the stored event types, from 1; `extractor.py` asks with them.
        user_profile: the columns of the stored profiles; it asks with them too.
    """

    def __init__(self, event_types: list[str], user_profile: list[str], name: str = USERS):
        super().__init__(name)
        self.event_types, self.user_profile = event_types, user_profile


def _ranking(at: Sequence[int], ranking: str, targets: str, name: str,
             model_names: Sequence[str] | None = None) -> list[tfma.metrics.MetricComputation]:
    names = [ranking_name(measure, cut, ranking, targets) for cut in at for measure in measures.RANKING_MEASURES]
    return _means(names, _RankingValues(tuple(at), ranking, targets), model_names)


@dataclasses.dataclass(frozen=True)
class _RankingValues:
    at: tuple[int, ...]
    ranking: str
    targets: str

    def __call__(self, user: _User) -> np.ndarray | None:
        ranked = user.predictions[ITEMS] if self.ranking == SERVED else user.features[self.ranking]
        wanted: np.ndarray | list[bytes] = user.targets
        if self.targets == NOVEL:
            ranked = measures.without(ranked, user.features[SEEN])
            wanted = measures.without(wanted, user.features[SEEN])
        elif self.targets != ALL:
            wanted = user.targets[user.features[TARGET_IN_HEAD] == (self.targets == HEAD)]
        return measures.ranking_values(measures.places(ranked, wanted), self.at) if len(wanted) else None


def _category_recall(at: Sequence[int], name: str,
                     model_names: Sequence[str] | None = None) -> list[tfma.metrics.MetricComputation]:
    names = [f"{kind}@{cut}" for kind in ("category_recall", "category_item_recall") for cut in at]
    return _means(names, _CategoryValues(tuple(at)), model_names)


@dataclasses.dataclass(frozen=True)
class _CategoryValues:
    at: tuple[int, ...]

    def __call__(self, user: _User) -> np.ndarray:
        of_items = user.features[TARGET_CATEGORY]
        return np.concatenate([
            measures.share_within(measures.places(user.predictions[CATEGORIES], wanted), self.at)
            for wanted in (sorted(set(of_items)), of_items)])


def _over_popular(at: int, name: str,
                  model_names: Sequence[str] | None = None) -> list[tfma.metrics.MetricComputation]:
    return _means([over_popular_name(at)], _ServedAndPopularRecall(at), model_names, _quotient)


@dataclasses.dataclass(frozen=True)
class _ServedAndPopularRecall:
    at: int

    def __call__(self, user: _User) -> np.ndarray:
        return np.concatenate([measures.share_within(measures.places(ranked, user.targets), [self.at])
                               for ranked in (user.predictions[ITEMS], user.features[POPULAR])])


def _quotient(means: np.ndarray) -> np.ndarray:
    served, popular = means
    if popular == 0.0:
        return np.array([np.inf if served > 0.0 else 0.0])
    return np.array([served / popular])


def _means(names: Iterable[str], of_user: Callable[[_User], np.ndarray | None], model_names: Sequence[str] | None,
           summed_up: Callable[[np.ndarray], np.ndarray] = np.asarray) -> list[tfma.metrics.MetricComputation]:
    """A computation for each model. Without `example_weighted`, as the keys of a MetricsSpec's thresholds are."""
    preprocessor = tfma.metrics.FeaturePreprocessor(feature_keys=_FEATURES)
    return [tfma.metrics.MetricComputation(
        keys=keys, preprocessors=[preprocessor], combiner=_MeanOverUsers(keys, of_user, model, summed_up))
        for model in model_names or [""]
        for keys in [[tfma.metrics.MetricKey(name, model_name=model, example_weighted=None) for name in names]]]


class _MeanOverUsers(beam.CombineFn):
    """The mean of the values of those users who have any; NaN if none has.

    Args:
        keys: of the n metrics.
        of_user: the float64 [m] values of a user, or None.
        model: whose predictions to read.
        summed_up: means [m] -> metrics [n].
    """

    def __init__(self, keys: Sequence[tfma.metrics.MetricKey], of_user: Callable[[_User], np.ndarray | None],
                 model: str, summed_up: Callable[[np.ndarray], np.ndarray]):
        self._keys, self._of_user, self._model, self._summed_up = keys, of_user, model, summed_up

    def create_accumulator(self) -> tuple[np.ndarray | float, int]:
        return 0.0, 0

    def add_input(self, accumulator: tuple[np.ndarray | float, int],
                  element: tfma.metrics.StandardMetricInputs) -> tuple[np.ndarray | float, int]:
        predictions = element.predictions
        values = self._of_user(_User(element.labels, predictions[self._model] if self._model else predictions,
                                     element.features))
        total, users = accumulator
        return accumulator if values is None else (total + values, users + 1)

    def merge_accumulators(self, accumulators: Iterable[tuple[np.ndarray | float, int]]
                           ) -> tuple[np.ndarray | float, int]:
        totals, users = zip(*accumulators)
        return sum(totals), sum(users)

    def extract_output(self, accumulator: tuple[np.ndarray | float, int]) -> dict[tfma.metrics.MetricKey, float]:
        total, users = accumulator
        if not users:
            return dict.fromkeys(self._keys, np.nan)
        return dict(zip(self._keys, self._summed_up(np.asarray(total / users)).tolist()))
