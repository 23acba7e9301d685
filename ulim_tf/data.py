"""Transformed users -> batches of training moments.

A moment is a user just before one of their baskets: everything of lower rank than the basket's first event is its
history, the basket's items are its targets. A user is stored once (`ulim_tf/features.py`), so a moment's tensors are
slices of what is stored, found by binary search: its cost does not grow with the history (ARCHITECTURE: histories
are stored once).
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf import features, history
from ulim_tf.config import FeaturesConfig, HistoryConfig, TrainingConfig
from ulim_tf.event_log import EventLog, HeldOut
from ulim_tf.sequences import DAY_SECONDS

TARGET_ITEM = "target_item"
TARGET_REAL = "target_real"

_SHUFFLE_USERS = 10_000
_STORED = {
    name: tf.io.RaggedFeature(tf.int64)
    for name in (features.EVENT_ITEM, features.EVENT_TIMESTAMP, features.EVENT_RANK, features.EVENT_BASKET_START,
                 features.CATEGORY, features.CATEGORY_LENGTH)
}


class StoredUsers:
    """U stored users as flat tensors that moments are cut from, without the events of unknown items.

    Args:
        stored: the int64 ragged features [U, L] and [U, N] of `ulim_tf/features.py`.
        items: V; what is numbered above it, a bucket, is read and never predicted.
        targets: types of the events that are predicted; empty: all are.

    Raises:
        ValueError: there are targets, but the events are stored without types.
    """

    def __init__(self, stored: dict[str, tf.RaggedTensor], items: int, targets: Sequence[int] = ()):
        item = stored[features.EVENT_ITEM].flat_values
        splits = tf.cast(stored[features.EVENT_ITEM].row_splits, tf.int64)
        user = tf.cast(stored[features.EVENT_ITEM].value_rowids(), tf.int64)
        first = tf.gather(splits, user)
        by_time = tf.scatter_nd((first + stored[features.EVENT_RANK].flat_values)[:, None],
                                tf.range(tf.size(item, tf.int64)), tf.shape(item, tf.int64))
        row = tf.repeat(tf.range(tf.size(stored[features.CATEGORY].flat_values, tf.int64)),
                        stored[features.CATEGORY_LENGTH].flat_values)

        known = item != features.UNKNOWN
        known_before = tf.cumsum(tf.cast(tf.gather(known, by_time), tf.int64), exclusive=True)
        known_before = tf.concat([known_before, [tf.math.count_nonzero(known)]], axis=0)
        rank = tf.gather(known_before, first + stored[features.EVENT_RANK].flat_values) - tf.gather(known_before, first)
        basket = (tf.gather(known_before, first + stored[features.EVENT_BASKET_START].flat_values)
                  - tf.gather(known_before, first))
        item, rank, basket, row = (tf.boolean_mask(values, known) for values in (item, rank, basket, row))

        self.splits = tf.gather(known_before, splits)  # [U + 1]
        self.item = item  # category-major, as the next two
        self.timestamp = tf.boolean_mask(stored[features.EVENT_TIMESTAMP].flat_values, known)
        self.row_splits = tf.cast(stored[features.CATEGORY].row_splits, tf.int64)  # [U + 1]
        self.category = stored[features.CATEGORY].flat_values  # one a row
        self._most = tf.size(item, tf.int64) + 1
        self._row = row
        self._row_and_rank = row * self._most + rank  # ascending
        at = (tf.gather(self.splits, tf.boolean_mask(user, known)) + rank)[:, None]
        self._by_time = tf.scatter_nd(at, tf.range(tf.size(item, tf.int64)), tf.shape(item, tf.int64))
        self.type = self.profile = None
        if features.EVENT_TYPE in stored:
            self.type = tf.boolean_mask(stored[features.EVENT_TYPE].flat_values, known)

        if features.PROFILE in stored:
            self.profile = stored[features.PROFILE].to_tensor(features.UNKNOWN)  # [U, P]

        opening = tf.gather(self.splits, tf.boolean_mask(user, known)) + basket  # of the basket of each event
        predicted = self.item <= items
        if targets:
            if self.type is None:
                raise ValueError(f"targets must be empty for events stored without types, got {tuple(targets)}. Store "
                                 "them with `features.event_types`, or predict every event.")
            predicted &= tf.reduce_any(self.type[:, None] == tf.constant(targets, tf.int64), axis=1)
        target = tf.boolean_mask(self._by_time, tf.gather(predicted, self._by_time))
        # By basket, in time order inside: baskets may interleave in time.
        self._target = tf.gather(target, tf.argsort(tf.gather(opening, target), stable=True))
        opening = tf.gather(opening, self._target)
        self._openings, _, size = tf.unique_with_counts(opening, tf.int64)  # ascending, of baskets with a target
        self._first_target = tf.cumsum(size, exclusive=True)
        self._targets = size
        self._opening_splits = tf.searchsorted(self._openings, self.splits, out_type=tf.int64)

    def lengths(self) -> tf.Tensor:
        """int64 [U], known events of each user."""
        return self.splits[1:] - self.splits[:-1]

    def baskets(self) -> tf.Tensor:
        """int64 [U], baskets of each user that have a target."""
        return self._opening_splits[1:] - self._opening_splits[:-1]

    def basket_start(self, user: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """int64 [B], rank of the first event of the user's basket of that number, 0 for the oldest."""
        return tf.gather(self._openings, tf.gather(self._opening_splits, user) + number) - tf.gather(self.splits, user)

    def events_before(self, rank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Events of lower rank than those int64 [U].

        Returns:
            How many of each user int64 [U], and their items and timestamps int64 [n], in time order.
        """
        lengths = self.lengths()
        of_rank = tf.range(tf.size(self.item, tf.int64)) - tf.repeat(self.splits[:-1], lengths)
        place = tf.boolean_mask(self._by_time, of_rank < tf.repeat(rank, lengths))
        return tf.minimum(lengths, rank), tf.gather(self.item, place), tf.gather(self.timestamp, place)

    def basket_targets(self, user: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """int64 [B], targets of the user's basket of that number."""
        return tf.gather(self._targets, tf.gather(self._opening_splits, user) + number)

    def time_of(self, user: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
        """int64 [B], unix seconds of the user's event."""
        return tf.gather(self.timestamp, tf.gather(self._by_time, tf.gather(self.splits, user) + rank))

    def basket_items(self, user: tf.Tensor, number: tf.Tensor, skipped: tf.Tensor, most: int) -> dict[str, tf.Tensor]:
        """Targets of the basket of that number, `most` of them at the most, round from the one `skipped` to.

        Returns:
            target_item int64 [B, T] and target_real bool [B, T].
        """
        size = self.basket_targets(user, number)[:, None]
        steps = tf.range(most, dtype=tf.int64)[None, :]
        first = tf.gather(self._first_target, tf.gather(self._opening_splits, user) + number)
        real = steps < size
        place = tf.gather(self._target, first[:, None] + (skipped[:, None] + steps) % size)
        return {TARGET_ITEM: tf.where(real, tf.gather(self.item, place), features.UNKNOWN), TARGET_REAL: real}

    def describe(self, user: tf.Tensor, rank: tf.Tensor, now: tf.Tensor, config: HistoryConfig) -> dict[str, tf.Tensor]:
        """The tensors of `history.describe` for users [B] just before their event of `rank` [B], at time `now` [B]."""
        length = tf.minimum(rank, min(config.short, config.long))
        steps = tf.range(config.short, dtype=tf.int64)[None, :]
        real = steps < length[:, None]
        place = tf.where(real, (tf.gather(self.splits, user) + rank - length)[:, None] + steps, 0)
        place = tf.gather(self._by_time, place)

        first_row = tf.gather(self.row_splits, user)
        rows = tf.gather(self.row_splits, user + 1) - first_row
        row = tf.range(tf.maximum(tf.reduce_max(rows), 1))[None, :]
        in_user = row < rows[:, None]
        row = tf.where(in_user, first_row[:, None] + row, 0)
        start, end = self._window(row, rank[:, None], config.long)
        found = in_user & (end > start)
        newest = tf.gather(self.timestamp, tf.where(found, end - 1, 0))
        return {
            **({} if self.profile is None else {history.PROFILE: tf.gather(self.profile, user)}),
            **self._types(history.SHORT_TYPE, place, real),
            history.SHORT_ITEM: tf.where(real, tf.gather(self.item, place), 0),
            history.SHORT_CATEGORY: tf.where(real, tf.gather(self.category, tf.gather(self._row, place)), 0),
            history.SHORT_AGE: history.age(tf.gather(self.timestamp, place), now, real),
            history.SHORT_LENGTH: length,
            history.CATEGORY: tf.where(found, tf.gather(self.category, row), features.UNKNOWN),
            history.CATEGORY_COUNT: tf.where(found, end - start, 0),
            history.CATEGORY_AGE: history.age(newest, now, found),
            history.CATEGORY_SPAN: tf.where(
                found, newest - tf.gather(self.timestamp, tf.where(found, start, 0)), 0),
        }

    def subsequences(self, user: tf.Tensor, rank: tf.Tensor, now: tf.Tensor, wanted: tf.Tensor,
                     config: HistoryConfig) -> dict[str, tf.Tensor]:
        """The tensors of `history.subsequences` for wanted categories [B, K]."""
        first_row = tf.gather(self.row_splits, user)
        rows = tf.gather(self.row_splits, user + 1) - first_row
        row = tf.range(tf.maximum(tf.reduce_max(rows), 1))[None, :]
        category = tf.gather(self.category, tf.where(row < rows[:, None], first_row[:, None] + row, 0))
        match = (category[:, None, :] == wanted[:, :, None]) & (row < rows[:, None])[:, None, :]
        found = tf.reduce_any(match, axis=2)
        row = tf.where(found, first_row[:, None] + tf.argmax(match, axis=2), 0)
        start, end = self._window(row, rank[:, None], config.long)
        length = tf.where(found, tf.minimum(end - start, config.subsequence), 0)
        steps = tf.range(config.subsequence, dtype=tf.int64)[None, None, :]
        real = steps < length[:, :, None]
        place = tf.where(real, (end - length)[:, :, None] + steps, 0)
        return {
            **self._types(history.SUBSEQUENCE_TYPE, place, real),
            history.SUBSEQUENCE_ITEM: tf.where(real, tf.gather(self.item, place), 0),
            history.SUBSEQUENCE_AGE: history.age(tf.gather(self.timestamp, place), now, real),
            history.SUBSEQUENCE_LENGTH: length,
        }

    def _types(self, name: str, place: tf.Tensor, real: tf.Tensor) -> dict[str, tf.Tensor]:
        return {} if self.type is None else {name: tf.where(real, tf.gather(self.type, place), 0)}

    def _window(self, row: tf.Tensor, rank: tf.Tensor, long: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Where the events of a row begin and end that are among the newest `long` before `rank`."""
        def position(of_rank: tf.Tensor) -> tf.Tensor:
            key = tf.reshape(row * self._most + of_rank, [-1])
            return tf.reshape(tf.searchsorted(self._row_and_rank, key, out_type=tf.int64), tf.shape(row))

        return position(tf.maximum(rank - long, 0)), position(rank)


def training_dataset(files: Sequence[str], item_category: tf.Tensor, history_config: HistoryConfig,
                     config: TrainingConfig, features_config: FeaturesConfig = FeaturesConfig(), *,
                     held_out: np.ndarray | None = None, shard: tuple[int, int] = (0, 1),
                     start: int = 0) -> tf.data.Dataset:
    """An endless, seeded dataset of training batches.

    Args:
        files: gzipped TFRecord files of transformed users, split `train`.
        item_category: int64 [V + 1], the category of each item.
        history_config: S, M and L.
        config: batch shape and seed.
        features_config: what the towers read.
        held_out: bool [users], in the order of the files: whose newest basket is never drawn, and so in no history
            either; None: nobody's.
        shard: (i, n) reads the i-th of n parts of the users, i from 0.
        start: batches at the beginning that are left out, at the cost of reading their users.

    Returns:
        Batches of `history.describe` and `history.subsequences` (K is T: the category of each target), with
        target_item int64 [B, T] and target_real bool [B, T].

    Raises:
        ValueError: `files` is empty.
    """
    if not files:
        raise ValueError("files must name at least one TFRecord file of transformed users, got none. "
                         "Did Transform write the split 'train'?")
    users = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    held = (tf.data.Dataset.from_tensors(False).repeat() if held_out is None
            else tf.data.Dataset.from_tensor_slices(held_out))
    users = tf.data.Dataset.zip((users, held)).shard(shard[1], shard[0])
    users = users.shuffle(_SHUFFLE_USERS, seed=config.seed).repeat().batch(_users_in_batch(config))
    spec, items = stored_spec(features_config), len(item_category) - 1

    def cut(stored: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        serialized, held = stored
        users = StoredUsers(tf.io.parse_example(serialized, spec), items, features_config.targets)
        drawn = users.baskets() - tf.cast(held, tf.int64)
        user = tf.where(drawn > 0)[:, 0]
        return _moments(users, user, tf.gather(drawn, user), seed, item_category, history_config, config)

    return _seeded(users, cut, config, start)


def stored_spec(config: FeaturesConfig) -> dict[str, tf.io.RaggedFeature]:
    """How transformed users are parsed into what `StoredUsers` takes."""
    optional = {features.EVENT_TYPE: config.event_types, features.PROFILE: config.user_profile}
    return {**_STORED, **{name: tf.io.RaggedFeature(tf.int64) for name, used in optional.items() if used}}


def training_dataset_in_memory(log: EventLog, history_config: HistoryConfig, config: TrainingConfig,
                               features_config: FeaturesConfig = FeaturesConfig()) -> tf.data.Dataset:
    """As `training_dataset`, from a log in memory."""
    users, item_category = _in_memory(log, features_config.targets), tf.constant(log.item_category)
    numbers = tf.data.Dataset.from_tensor_slices(tf.where(users.baskets() > 0)[:, 0])
    numbers = numbers.shuffle(len(log.user_id), seed=config.seed).repeat().batch(_users_in_batch(config))
    return _seeded(numbers, lambda user, seed: _moments(users, user, tf.gather(users.baskets(), user), seed,
                                                        item_category, history_config, config), config)


def held_out_dataset(log: EventLog, held: HeldOut, config: HistoryConfig, batch: int = 128) -> tf.data.Dataset:
    """Each held-out basket once, as a moment with the user's whole history in the log: for `evaluate` and for ranking.

    Args:
        log: the histories.
        held: the baskets.
        config: S, M and L.
        batch: B; the last batch may be smaller.

    Returns:
        Batches as those of `training_dataset`, in the order of `held`; T is the largest basket of the batch.
    """
    users, item_category = _in_memory(log), tf.constant(log.item_category)
    user, now = tf.constant(held.user), tf.constant(held.now)
    baskets = tf.RaggedTensor.from_row_lengths(
        tf.constant([item for basket in held.target for item in basket], tf.int64), [len(b) for b in held.target])
    rank = tf.gather(users.lengths(), user)

    def cut(place: tf.Tensor) -> dict[str, tf.Tensor]:
        asked, before, at = (tf.gather(values, place) for values in (user, rank, now))
        target = tf.gather(baskets, place)
        item = target.to_tensor(features.UNKNOWN)
        return {**users.describe(asked, before, at, config),
                TARGET_ITEM: item, TARGET_REAL: tf.sequence_mask(target.row_lengths(), tf.shape(item)[1]),
                **users.subsequences(asked, before, at, tf.gather(item_category, item), config)}

    return _cut(tf.data.Dataset.range(len(held.user)).batch(batch), cut)


def _in_memory(log: EventLog, targets: Sequence[int] = ()) -> StoredUsers:
    stored = {name: tf.RaggedTensor.from_row_lengths(*parts) for name, parts in log.stored().items()}
    return StoredUsers(stored, log.items, targets)


class Popularity(NamedTuple):
    """How often each item was bought: int64 [V + O + 1] each."""

    ever: np.ndarray
    recent: np.ndarray


def popularity(batches: Iterable[tuple[np.ndarray, np.ndarray]], items: int, recent_days: int) -> Popularity:
    """Counts the events of each item, ever and in the newest days of the log.

    Args:
        batches: items int64 [n] and timestamps int64 [n] of events; read twice, to find the newest one first.
        items: V + O; O is 0 without buckets.
        recent_days: before the newest event.
    """
    newest = max((int(timestamp.max()) for _, timestamp in batches if len(timestamp)), default=0)
    counted = Popularity(np.zeros(items + 1, np.int64), np.zeros(items + 1, np.int64))
    for item, timestamp in batches:
        counted.ever[:] += np.bincount(item, minlength=items + 1)
        counted.recent[:] += np.bincount(item[timestamp > newest - recent_days * DAY_SECONDS], minlength=items + 1)
    counted.ever[features.UNKNOWN] = counted.recent[features.UNKNOWN] = 0
    return counted


def _users_in_batch(config: TrainingConfig) -> int:
    return max(config.moments // config.moments_per_user, 1)


def _seeded(users: tf.data.Dataset, cut: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]],
            config: TrainingConfig, start: int = 0) -> tf.data.Dataset:
    seeds = tf.data.Dataset.random(seed=config.seed)
    return _cut(tf.data.Dataset.zip((users, seeds)).skip(start), cut)


def _cut(elements: tf.data.Dataset, cut: Callable[..., dict[str, tf.Tensor]]) -> tf.data.Dataset:
    # No Python control flow depends on a tensor; converting it takes seconds.
    return elements.map(tf.autograph.experimental.do_not_convert(cut), num_parallel_calls=1).prefetch(2)


def _moments(users: StoredUsers, user: tf.Tensor, baskets: tf.Tensor, seed: tf.Tensor, item_category: tf.Tensor,
             history_config: HistoryConfig, config: TrainingConfig) -> dict[str, tf.Tensor]:
    """A batch: some of the oldest `baskets` int64 [n], 1 or more, of each user int64 [n]."""
    user, baskets = tf.repeat(user, config.moments_per_user), tf.repeat(baskets, config.moments_per_user)
    basket = _below(baskets, [seed, 0])
    rank = users.basket_start(user, basket)
    now = users.time_of(user, rank)
    targets = users.basket_items(user, basket, _below(users.basket_targets(user, basket), [seed, 1]), config.targets)
    wanted = tf.gather(item_category, targets[TARGET_ITEM])
    return {**users.describe(user, rank, now, history_config), **targets,
            **users.subsequences(user, rank, now, wanted, history_config)}


def _below(limit: tf.Tensor, seed: list[tf.Tensor | int]) -> tf.Tensor:
    """A whole number from 0 to limit - 1 for each limit, all alike probable."""
    drawn = tf.random.stateless_uniform(tf.shape(limit), seed, dtype=tf.float64) * tf.cast(limit, tf.float64)
    return tf.minimum(tf.cast(drawn, tf.int64), limit - 1)
