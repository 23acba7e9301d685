"""An invented event log with histories of one length, for measuring cost; it says nothing about quality."""

import numpy as np

from ulim_tf.event_log import EventLog
from ulim_tf.sequences import DAY_SECONDS

CATEGORIES = 300
BASKET = 10
_BASKETS = 10


def event_log(users: int, history: int, items: int, seed: int = 17, categories: int = CATEGORIES,
              zipf: float = 1.0, own: int | None = None) -> EventLog:
    """Users with `history` events, then ten baskets of ten.

    Training draws a user's baskets alike. So that it does not read half-grown histories, the `history` events are one
    opening basket: ten of eleven moments have all of them before them. Categories follow Zipf's law, in events as in
    items, and a category's first items sell most.

    Args:
        users: U.
        history: L.
        items: V, at least C.
        seed: of everything random.
        categories: C.
        zipf: exponent of Zipf's law.
        own: categories of each user, drawn by popularity, to which all of a user's events belong, to the n-th of them
            in proportion to 1 / n. None: any category.
    """
    random = np.random.default_rng(seed)
    share = np.arange(1, categories + 1.0) ** -zipf
    share /= share.sum()
    item_category = np.append(np.arange(categories), random.choice(categories, items - categories, p=share)) + 1
    by_category = 1 + np.argsort(item_category, kind="stable")
    size = np.bincount(item_category, minlength=categories + 1)[1:]

    events = history + _BASKETS * BASKET
    if own is None:
        category = random.choice(categories, (users, events), p=share)
    else:
        taste = 1 / np.arange(1, own + 1)
        category = np.stack([random.choice(random.choice(categories, own, replace=False, p=share), events,
                                           p=taste / taste.sum()) for _ in range(users)])
    place = (size[category] * random.random((users, events)) ** 3).astype(np.int64)
    basket = np.append(np.zeros(history, np.int64), np.repeat(history + BASKET * np.arange(_BASKETS), BASKET))
    day = np.append(np.linspace(0, 300, history), np.repeat(301 + np.arange(_BASKETS), BASKET))
    return EventLog(
        user_id=np.array([f"{user:08}" for user in range(users)], object),
        item_id=np.array(["", *map(str, range(1, items + 1))], object),
        category_id=np.array(["", *map(str, range(1, categories + 1))], object),
        item_category=np.append(0, item_category),
        title=np.full(items + 1, "", object),
        content_id=np.array([""], object), item_content=np.zeros([items + 1, 0], np.int64),
        splits=np.arange(users + 1) * events,
        item=by_category[(np.cumsum(size) - size)[category] + place].reshape(-1),
        timestamp=np.tile((1_500_000_000 + DAY_SECONDS * day).astype(np.int64), users),
        basket_start=np.tile(basket, users))
