"""Small stored users, as Transform writes them, for tests of the model and its data."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from ulim_tf import features
from ulim_tf.event_log import EventLog, HeldOut, split_by_time


def item_categories(items: int, categories: int) -> np.ndarray:
    """int64 [V + 1]: items 1, 2, 3, ... in categories 1, 2, ..., C, 1, ..."""
    return np.concatenate([[0], 1 + np.arange(items) % categories]).astype(np.int64)


def write_users(file: Path, baskets: list[list[list[int]]], item_category: np.ndarray) -> None:
    """Writes users given as baskets of items, one basket a day."""
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for user in baskets:
            item = np.array([item for basket in user for item in basket], np.int64)
            day = np.repeat(np.arange(len(user)), [len(basket) for basket in user])
            first = np.array([np.flatnonzero(day == d)[0] for d in day])
            order = np.argsort(item_category[item], kind="stable")
            category, length = np.unique(item_category[item], return_counts=True)
            stored = {features.EVENT_ITEM: item[order], features.EVENT_TIMESTAMP: 10**9 + 86_400 * day[order],
                      features.EVENT_RANK: order, features.EVENT_BASKET_START: first[order],
                      features.CATEGORY: category, features.CATEGORY_LENGTH: length}
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in stored.items()})).SerializeToString())


def small_log(users: int = 20, items: int = 24, categories: int = 4) -> tuple[EventLog, HeldOut]:
    """Users who each buy of three items of their own, on 13 days a month apart; the last month is held out."""
    rng = np.random.default_rng(0)
    rows = [(user, item, item % categories, month * 30 * 86_400, month)
            for user in range(users) for mine in [rng.choice(items, 3, replace=False)]
            for month in range(13) for item in rng.choice(mine, rng.integers(1, 4), replace=False)]
    names = ("user_id", "item_id", "category_id", "timestamp", "group_id")
    catalog = {"item_id": np.arange(items), "category_id": np.arange(items) % categories}
    return split_by_time(dict(zip(names, map(np.array, zip(*rows)))), catalog)
