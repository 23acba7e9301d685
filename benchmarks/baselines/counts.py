"""Baselines that count: what is popular, what the user bought most, what goes with what they bought.

    most popular           events of an item, of all users
    own most frequent      the user's events of an item, then the most popular
    item-kNN               cosine of items over users, summed over the user's events, the recent ones more
    own + item-kNN         the user's decayed events of an item, plus a little of item-kNN's score
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse

from benchmarks.training_loop import Trained
from ulim_tf.event_log import EventLog, HeldOut
from ulim_tf.sequences import DAY_SECONDS

_HALF_LIFE_DAYS = 180  # validation, Recall@100 of own frequency: 45 days .367, 90 .375, 180 .378, none .377
_KNN_SHARE = 0.1  # of the mixture; validation, Recall@500: .02 .5182, .1 .5184, .3 .5186
_USERS_AT_ONCE = 64


class Counts:
    """Implements `benchmarks.candidate.Candidate`; nothing is trained."""

    name: str

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """Counts the log."""
        self.popularity = np.bincount(log.item, minlength=log.items + 1).astype(float)
        return Trained(0, 0.0, [])

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """As `Candidate`."""
        return np.concatenate([_best(score, log, users, count, exclude_seen)
                               for users, score in self.scores(log, held)])

    def scores(self, log: EventLog, held: HeldOut) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some users int64 [B] at a time, and the score of each item for each of them [B, V + 1]."""
        # Popularity decides between items of equal score, and after the last one with a score.
        little = self.popularity / (self.popularity.sum() * 1e3)
        for start in range(0, len(held.user), _USERS_AT_ONCE):
            users, now = held.user[start:start + _USERS_AT_ONCE], held.now[start:start + _USERS_AT_ONCE]
            yield users, self.score(log, users, now) + little

    def score(self, log: EventLog, users: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Float [B, V + 1]."""
        raise NotImplementedError


class MostPopular(Counts):
    """The items with the most events."""

    name = "most popular"

    def score(self, log: EventLog, users: np.ndarray, now: np.ndarray) -> np.ndarray:
        return np.zeros((len(users), log.items + 1))


class OwnMostFrequent(Counts):
    """The items that the user has the most events of."""

    name = "own most frequent"

    def score(self, log: EventLog, users: np.ndarray, now: np.ndarray) -> np.ndarray:
        return _events_of(log, users, np.zeros(len(users)), half_life_days=np.inf).toarray()

    def rank_categories(self, log: EventLog, held: HeldOut, count: int) -> np.ndarray:
        """The categories that the user has the most events of, then the most frequent ones."""
        every = np.bincount(log.item_category[log.item], minlength=log.categories + 1)
        own = np.stack([np.bincount(log.item_category[log.item[log.history(user)]], minlength=log.categories + 1)
                        for user in held.user]) + every / (every.sum() * 1e3)
        own[:, 0] = -1
        return np.argsort(-own, axis=1, kind="stable")[:, :count]


class ItemKnn(Counts):
    """Items whose buyers are those of the user's items."""

    name = "item-kNN"

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        user = np.repeat(np.arange(len(log.user_id)), np.diff(log.splits))
        bought = sparse.csr_matrix((np.ones(len(log.item)), (user, log.item)),
                                   shape=(len(log.user_id), log.items + 1))
        bought.data[:] = 1.0
        norm = np.sqrt(np.maximum(np.asarray(bought.sum(axis=0)).ravel(), 1.0))
        self.unit = (bought @ sparse.diags(1.0 / norm)).tocsr()  # unit columns: cosine is a dot product
        return super().fit(log, validation=validation, steps=steps, seed=seed, quick=quick)

    def score(self, log: EventLog, users: np.ndarray, now: np.ndarray) -> np.ndarray:
        return _neighbours(self.unit, _events_of(log, users, now, _HALF_LIFE_DAYS))


class OwnAndKnn(ItemKnn):
    """The user's own decayed frequency, and a share of item-kNN."""

    name = "own + item-kNN"

    def score(self, log: EventLog, users: np.ndarray, now: np.ndarray) -> np.ndarray:
        own = _events_of(log, users, now, _HALF_LIFE_DAYS)
        return _shares(own.toarray()) * (1.0 - _KNN_SHARE) + _KNN_SHARE * _shares(_neighbours(self.unit, own))


def _neighbours(unit: sparse.csr_matrix, events: sparse.csr_matrix) -> np.ndarray:
    """Cosines [U, V + 1] of items over users, weighted by events [B, V + 1]: [B, V + 1]."""
    return np.asarray((unit.T @ (unit @ events.T).toarray()).T)


def _events_of(log: EventLog, users: np.ndarray, now: np.ndarray, half_life_days: float) -> sparse.csr_matrix:
    """The user's events of each item, one half-life ago counting a half: [B, V + 1]."""
    parts = [log.history(user) for user in users]
    row = np.repeat(np.arange(len(users)), [part.stop - part.start for part in parts])
    item = np.concatenate([log.item[part] for part in parts])
    age = now[row] - np.concatenate([log.timestamp[part] for part in parts])
    weight = 0.5 ** (np.maximum(age, 0) / DAY_SECONDS / half_life_days)
    return sparse.csr_matrix((weight, (row, item)), shape=(len(users), log.items + 1))


def _shares(score: np.ndarray) -> np.ndarray:
    return score / np.maximum(score.sum(axis=1, keepdims=True), 1e-12)


def _best(score: np.ndarray, log: EventLog, users: np.ndarray, count: int, exclude_seen: bool) -> np.ndarray:
    """Items of the best `count` scores [B, V + 1], best first; 0 past the last that may be answered."""
    score[:, 0] = -np.inf
    if exclude_seen:
        for row, user in zip(score, users):
            row[log.item[log.history(user)]] = -np.inf
    item = np.argpartition(-score, min(count, score.shape[1] - 1), axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(score, item, axis=1), axis=1, kind="stable")
    item = np.take_along_axis(item, order, axis=1)
    return np.where(np.isfinite(np.take_along_axis(score, item, axis=1)), item, 0)
