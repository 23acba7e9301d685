"""ULIM as a candidate: scored exactly from the Keras model, and by the answers of its exported servable."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from benchmarks.candidate import Candidate
from benchmarks.training_loop import Schedule, Trained, train
from serving import contract
from serving.export import export_servable
from ulim_tf import co_purchase, data
from ulim_tf import config as settings
from ulim_tf.event_log import EventLog, HeldOut
from ulim_tf.exact_scores import ExactScorer, Scores
from ulim_tf.model import UlimModel

_USERS_AT_ONCE = 32
_SCORED_USERS = 4  # every fourth user, while training
_RECALL_AT = 100

CONTENT = ("product_type", "manufacturer_id")  # of the catalogue of Complete Journey
ABLATION = "ULIM: "  # begins the names of rows that only the validation split has

ABLATIONS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "no item pointer": {"model": {"item_pointer": False}},
    "no short-term self-attention": {"model": {"short_term_attention": False}},
    "item vectors learned from co-purchases": {"model": {"item_vectors": "started"}},
    "item vectors learned from chance": {"model": {"item_vectors": "learned"}},
    "no category pointer": {"model": {"category_pointer": False}},
    "no category generator": {"model": {"category_generator": False}},
    "subsequence asks itself": {"model": {"long_term_query": "subsequence"}},
    "negatives drawn for each target": {"loss": {"long_negatives": "per_target"}},
    "whole-pool negatives": {"loss": {"long_negatives": "whole_pool"}},
    "in-category short loss": {"loss": {"short_negatives": "in_category"}},
}
RETRIEVAL_ABLATIONS: dict[str, Mapping[str, Any]] = {
    "no short channel": {"short_share": 0.0},
    "quota merge": {"merge": "quota"},
    "equal quotas": {"merge": "equal_quota"},
}
SEARCHED_CATEGORIES = (1, 5, 10, 20, 50, 100)


class _Rankings(NamedTuple):
    """Best first, of n users."""

    item: np.ndarray  # int64 [n, R]
    unseen: np.ndarray  # int64 [n, R], without the items of each history
    in_true_category: np.ndarray  # int64 [n, R], with the basket's categories given
    category: np.ndarray  # int64 [n, C]


class ExactUlim:
    """Implements `benchmarks.candidate.Candidate`: the Keras model, all categories, exact normalisers.

    Args:
        name: of the row in the table.
        overrides: settings that differ from the defaults, by section.
        half: reads only the newer half of each user's history.
        content: reads the items' content.
    """

    def __init__(self, name: str = "ULIM (exact)", overrides: Mapping[str, Mapping[str, Any]] | None = None,
                 half: bool = False, content: bool = False):
        self.name, self._overrides, self._content = name, overrides or {}, content
        self._read = newest_half if half else lambda log: log
        self.fitted_on: EventLog | None = None
        self._ranked_for = self._ranked_of = None

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """Trains on the log; `validation` picks the step."""
        config = settings.from_dict(settings.UlimConfig, self._overrides)
        training = dataclasses.replace(config.training, seed=seed, steps=60 if quick else config.training.steps)
        config = dataclasses.replace(config, training=training)
        keras.utils.set_random_seed(seed)
        content = {"content": len(log.content_id) - 1, "tokens": log.item_content.shape[1]} if self._content else {}
        self.model = UlimModel(config, log.items, log.categories, **content)
        self.model.set_catalog(log.item_category, log.item_content if self._content else None)
        popularity = data.popularity([(log.item, log.timestamp)], log.items, training.recent_days)
        self.model.set_popularity(popularity.ever)
        if config.model.item_vectors != "learned":
            purchases = co_purchase.count([(np.diff(log.splits), log.item)], log.items)
            self.model.set_item_vectors(co_purchase.item_vectors(purchases, config.model.width, seed))
        self.model.compile()

        def score() -> float:
            some = _every(validation, _SCORED_USERS)  # another each time, so that nothing is remembered
            ranked = self.rank(log, some, _RECALL_AT, exclude_seen=False)
            return float(np.mean([np.isin(target, row).mean() for target, row in zip(some.target, ranked)]))

        moments = data.training_dataset_in_memory(self._read(log), config.history, training)
        schedule = Schedule(most=training.steps, every=max(training.steps // 3, 1), patience=3)
        self.trained = train(self.model, moments, schedule, name=self.name, steps=steps,
                             score=score if validation else None)
        self.model.follow_popularity(*popularity)
        self.fitted_on, self._ranked_for = log, None
        return self.trained

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """As `Candidate`."""
        rankings = self._rankings(log, held, count)
        return rankings.unseen if exclude_seen else rankings.item

    def rank_categories(self, log: EventLog, held: HeldOut, count: int) -> np.ndarray:
        """As `CategoryPredictor`."""
        return self._rankings(log, held, 1).category[:, :count]

    def rank_in_true_categories(self, log: EventLog, held: HeldOut, count: int) -> np.ndarray:
        """As `rank`, with the basket's own categories, all alike probable, in the place of those that PGIN predicts."""
        return self._rankings(log, held, count).in_true_category

    def _rankings(self, log: EventLog, held: HeldOut, count: int) -> _Rankings:
        """Every ranking from one scoring of the users, which takes nearly all of the time."""
        if self._ranked_for is not log or self._ranked_of is not held or self._ranked.item.shape[1] < count:
            batches = []
            for scores in self._scores(self._read(log), held):
                place = slice(len(batches) * _USERS_AT_ONCE, (len(batches) + 1) * _USERS_AT_ONCE)
                true = np.zeros(scores.category.shape)
                for row, target in zip(true, held.target[place]):
                    row[log.item_category[target]] = 1.0
                within = true / np.maximum(scores.category, 1e-30)
                unseen = scores.item.copy()
                for row, user in zip(unseen, held.user[place]):
                    row[log.item[log.history(user)]] = -1.0
                batches.append(_Rankings(
                    _best(scores.item, count), _best(unseen, count),
                    _best(scores.long * np.take(within, log.item_category, axis=1), count),
                    1 + np.argsort(-scores.category[:, 1:], axis=1, kind="stable")))
            self._ranked = _Rankings(*(np.concatenate(parts) for parts in zip(*batches)))
            self._ranked_for, self._ranked_of = log, held
        return _Rankings(*(one[:, :count] for one in self._ranked[:3]), self._ranked.category)

    def _scores(self, log: EventLog, held: HeldOut) -> Iterator[Scores]:
        users = data.StoredUsers(
            {name: tf.RaggedTensor.from_row_lengths(*parts) for name, parts in log.stored().items()}, log.items)
        return ExactScorer(self.model, users)(held.user, users.lengths().numpy()[held.user], held.now, _USERS_AT_ONCE)


class ServedUlim:
    """Implements `benchmarks.candidate.Candidate`: the answers of the exported SavedModel.

    Args:
        name: of the row in the table.
        trained_as: whose model is exported; fitted once for all that share it.
        overrides: retrieval settings that differ from those of that model.
    """

    def __init__(self, name: str, trained_as: ExactUlim, overrides: Mapping[str, Any] | None = None):
        self.name, self._of, self._overrides = name, trained_as, overrides or {}

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """Trains what is exported, unless that was just trained on this log."""
        if self._of.fitted_on is not log:
            self._of.fit(log, validation=validation, steps=steps, seed=seed, quick=quick)
        return self._of.trained

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """As `Candidate`."""
        answers = self._ask(log, held, contract.SIGNATURE_RECOMMEND, exclude_seen, results=count)
        number = {item: place for place, item in enumerate(log.item_id)}
        return np.concatenate([np.array([[number[one.decode()] for one in row] for row in answer[contract.ITEM_ID]])
                               for answer in answers])

    def rank_categories(self, log: EventLog, held: HeldOut, count: int) -> np.ndarray:
        """As `CategoryPredictor`; as many as the servable searches."""
        number = {category: place for place, category in enumerate(log.category_id)}
        answers = self._ask(log, held, contract.SIGNATURE_PREDICT_CATEGORY, False, results=1)
        return np.concatenate([np.array([[number[one.decode()] for one in row[:count]]
                                         for row in answer[contract.CATEGORY_ID]]) for answer in answers])

    def _ask(self, log: EventLog, held: HeldOut, signature: str, exclude_seen: bool,
             results: int) -> Iterator[dict[str, np.ndarray]]:
        model = self._of.model
        trained_with = model.settings
        with tempfile.TemporaryDirectory() as folder:
            lines = [str(Path(folder) / name) for name in ("items.txt", "categories.txt")]
            for file, ids in zip(lines, (log.item_id, log.category_id)):
                Path(file).write_text("\n".join(ids[1:]) + "\n")
            model.settings = dataclasses.replace(trained_with, retrieval=dataclasses.replace(
                trained_with.retrieval, exclude_seen=exclude_seen, results=results, **self._overrides))
            try:
                export_servable(model, *lines, f"{folder}/1")
            finally:
                model.settings = trained_with
            servable = tf.saved_model.load(f"{folder}/1").signatures[signature]
            for user, now in zip(_split(held.user), _split(held.now)):
                length = np.diff(log.splits)[user]
                item = np.full((len(user), length.max()), "", object)
                timestamp = np.zeros(item.shape, np.int64)
                for row, one in enumerate(user):
                    item[row, :length[row]] = log.item_id[log.item[log.history(one)]]
                    timestamp[row, :length[row]] = log.timestamp[log.history(one)]
                answer = servable(**{contract.ITEM_ID: tf.constant(item), contract.TIMESTAMP: tf.constant(timestamp),
                                     contract.LENGTH: tf.constant(length, tf.int32), contract.NOW: tf.constant(now)})
                yield {name: value.numpy() for name, value in answer.items()}


def candidates() -> list[Candidate]:
    """ULIM exactly and served, and its ablations."""
    exact = ExactUlim()
    trained = [ExactUlim(f"{ABLATION}{name}", overrides) for name, overrides in ABLATIONS.items()]
    served = [ServedUlim(f"{ABLATION}K = {count}", exact, {"categories": count}) for count in SEARCHED_CATEGORIES]
    served += [ServedUlim(f"{ABLATION}{name}", exact, overrides) for name, overrides in RETRIEVAL_ABLATIONS.items()]
    described = ExactUlim("ULIM with item content (exact)", content=True)
    return [exact, ServedUlim("ULIM", exact), described, ServedUlim("ULIM with item content", described),
            ExactUlim("ULIM (half history)", half=True), *served, *trained]


def newest_half(log: EventLog) -> EventLog:
    """The log with the newer half of each user's events; a basket that is cut through keeps what is left of it."""
    size = np.diff(log.splits)
    cut = size // 2
    rank = np.arange(len(log.item)) - np.repeat(log.splits[:-1], size)
    kept = rank >= np.repeat(cut, size)
    return dataclasses.replace(
        log, splits=np.append(0, np.cumsum(size - cut)), item=log.item[kept], timestamp=log.timestamp[kept],
        basket_start=np.maximum(log.basket_start - np.repeat(cut, size), 0)[kept])


def _every(held: HeldOut, step: int) -> HeldOut:
    return dataclasses.replace(held, user=held.user[::step], target=held.target[::step], now=held.now[::step])


def _best(score: np.ndarray, count: int) -> np.ndarray:
    """The `count` best of [B, V + 1], best first."""
    best = np.argpartition(-score, count, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(score, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def _split(values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, range(_USERS_AT_ONCE, len(values), _USERS_AT_ONCE))
