"""An event log in memory, for notebooks and benchmarks: columns -> vocabularies, histories, held-out baskets.

The pipeline does the same with Beam and TFX for logs of any size; both order, cut and hold out by `sequences.py`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ulim_tf import features, sequences
from ulim_tf.sequences import DAY_SECONDS, Events, Ids

_YEAR_2100 = 4_102_444_800


@dataclasses.dataclass(frozen=True)
class EventLog:
    """U users with E events of V items in C categories, as indices; 0 is the unknown item or category.

    Attributes:
        user_id: str (object) [U], ascending.
        item_id: str (object) [V + 1], by falling frequency; "" at 0.
        category_id: str (object) [C + 1], by falling frequency; "" at 0.
        item_category: int64 [V + 1], the category of each item.
        title: str (object) [V + 1], for people.
        content_id: str (object) [A + 1], the "column=value" tokens that describe items; "" at 0.
        item_content: int64 [V + 1, P], the tokens of each item, one a column, 0 where it has no value.
        splits: int64 [U + 1], where each user's events begin and end.
        item: int64 [E], each user's in time order.
        timestamp: int64 [E], unix seconds.
        basket_start: int64 [E], rank of the first event of the event's basket among the user's.
        profile_id: str (object) [Q + 1], the "column=value" tokens that describe users; "" at 0.
        profile: int64 [U, P], the tokens of each user, then 0.
        event_type: int64 [E], as `features.number_types`; None where types are not told apart.

    `profile_id` and `profile` are None without profiles.
    """

    user_id: np.ndarray
    item_id: np.ndarray
    category_id: np.ndarray
    item_category: np.ndarray
    title: np.ndarray
    content_id: np.ndarray
    item_content: np.ndarray
    splits: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    basket_start: np.ndarray
    profile_id: np.ndarray | None = None
    profile: np.ndarray | None = None
    event_type: np.ndarray | None = None

    @property
    def items(self) -> int:
        """V."""
        return len(self.item_id) - 1

    @property
    def categories(self) -> int:
        """C."""
        return len(self.category_id) - 1

    def history(self, user: int) -> slice:
        """Where the events of a user, by index, lie in `item` and `timestamp`."""
        return slice(self.splits[user], self.splits[user + 1])

    def stored(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The stored features of `features.py` that training reads, each as flat values and the length of each user."""
        user = np.repeat(np.arange(len(self.user_id)), np.diff(self.splits))
        category = self.item_category[self.item]
        order = np.lexsort((category, user))  # stable: time order inside a category
        rank = np.arange(len(self.item)) - self.splits[user]
        opens = np.ones(len(order), bool)
        opens[1:] = (np.diff(user[order]) != 0) | (np.diff(category[order]) != 0)
        row = np.flatnonzero(opens)
        events, rows = np.diff(self.splits), np.bincount(user[row], minlength=len(self.user_id))
        optional = {}
        if self.event_type is not None:
            optional[features.EVENT_TYPE] = (self.event_type[order], events)
        if self.profile is not None:
            optional[features.PROFILE] = (self.profile[self.profile > 0], np.count_nonzero(self.profile, axis=1))
        return {
            **optional,
            features.EVENT_ITEM: (self.item[order], events),
            features.EVENT_TIMESTAMP: (self.timestamp[order], events),
            features.EVENT_RANK: (rank[order], events),
            features.EVENT_BASKET_START: (self.basket_start[order], events),
            features.CATEGORY: (category[order][row], rows),
            features.CATEGORY_LENGTH: (np.diff(np.append(row, len(order))), rows),
        }


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The first basket after the cut of n users who have one, without the items nobody had before the cut.

    Attributes:
        user: int64 [n], indices into the log's users, ascending.
        target: n arrays int64, distinct items, at least one each.
        now: int64 [n], unix seconds of each basket's first event.
        without_history: users with a basket but no event before the cut.
        without_target: users whose basket holds unseen items only.
        items_unseen: target items that were dropped.
    """

    user: np.ndarray
    target: list[np.ndarray]
    now: np.ndarray
    without_history: int
    without_target: int
    items_unseen: int


def split_by_time(events: Mapping[str, Any], catalog: Mapping[str, Any] | None = None,
                  users: Mapping[str, Any] | None = None, *, holdout_days: int = 28, skip_days: int = 0,
                  max_history: int = 5000, seed: int = 17, content: Sequence[str] = (), profile: Sequence[str] = (),
                  event_types: Sequence[str] = (),
                  target_event_types: Sequence[str] = ()) -> tuple[EventLog, HeldOut]:
    """Cuts a log at the last event minus `skip_days` and `holdout_days`: what came before, and each user's next basket.

    With `skip_days`, the newest days of the log are left out first: so a validation split does not see the test split.

    Args:
        events: columns user_id, item_id, category_id, timestamp (unix seconds), group_id if events come in baskets,
            and event_type if types are told apart; a DataFrame or a mapping of arrays.
        catalog: columns item_id, category_id and perhaps title; overrules the log's categories. Of several rows of an
            item, the first by category, title and content counts. None takes from the log the category an item had
            last.
        users: column user_id and those of `profile`. Of several rows of a user, the first by its tokens counts.
        holdout_days: between the cut and the end.
        skip_days: left out at the end.
        max_history: newest events of a user that are kept.
        seed: shuffles the items of a basket that share a timestamp.
        content: P columns of the catalogue that describe its items.
        profile: columns of `users` that describe them.
        event_types: types that are told apart.
        target_event_types: those of them that may be held out; empty: all events may.

    Raises:
        ValueError: a column is missing, columns differ in length, an id is missing, a timestamp is not in unix seconds,
            or nothing happened before the cut.
    """
    log = _events(events, event_types)
    end = int(log.timestamp.max()) - skip_days * DAY_SECONDS
    cut = end - holdout_days * DAY_SECONDS
    if skip_days:
        log = log.take(log.timestamp < end)
    before = log.take(log.timestamp < cut)
    if not len(before):
        raise ValueError(f"no event lies before the cut, {holdout_days + skip_days} days before the last one. "
                         "Give a longer log, or hold out fewer days.")
    item_id, item_category_id, title, described = _items(before, catalog, content)
    item_category_id, category_id = _by_frequency(item_category_id, np.bincount(
        np.searchsorted(item_id, before.item_id.decode()), minlength=len(item_id)))
    counts = np.bincount(np.searchsorted(item_id, before.item_id.decode()), minlength=len(item_id))
    order = np.lexsort((item_id, -counts))
    number = np.empty(len(item_id), np.int64)
    number[order] = 1 + np.arange(len(item_id))

    content_id, item_content = _number_tokens(described, len(content))

    def numbers(ids: np.ndarray) -> np.ndarray:
        return number[np.searchsorted(item_id, ids)]

    histories = list(sequences.histories(before, max_history, seed))
    by_time = [history.event_rank.argsort() for history in histories]
    user_id = np.array([history.user_id for history in histories], object)
    profile_id, profiles = _profiles(user_id, users, profile) if profile else (None, None)
    past = EventLog(
        user_id=_text(user_id),
        item_id=np.append("", _text(item_id[order])).astype(object),
        category_id=np.append("", _text(category_id)).astype(object),
        item_category=np.append(0, item_category_id[order]),
        title=np.append("", _text(title[order])).astype(object),
        content_id=np.append("", _text(content_id)).astype(object),
        item_content=np.concatenate([np.zeros([1, len(content)], np.int64), item_content[order]]),
        splits=np.append(0, np.cumsum([len(order) for order in by_time])),
        item=numbers(np.concatenate([one.event_item_id[at] for one, at in zip(histories, by_time)])),
        timestamp=np.concatenate([one.event_timestamp[at] for one, at in zip(histories, by_time)]),
        basket_start=np.concatenate([one.event_basket_start[at] for one, at in zip(histories, by_time)]),
        profile_id=profile_id,
        profile=profiles,
        event_type=features.number_types(np.concatenate(
            [one.event_type[at] for one, at in zip(histories, by_time) if one.event_type is not None]), event_types)
        if event_types else None)

    sold = set(before.item_id.value)
    targets = log.of_types(target_event_types)
    seen = np.array([item in sold for item in targets.item_id.value], bool)
    baskets = list(sequences.held_out_baskets(targets, cut, seen, seed))
    known = set(user_id)
    kept = [basket for basket in baskets if basket.user_id in known and len(basket.target_item_id)]
    return past, HeldOut(
        user=np.searchsorted(user_id, np.array([basket.user_id for basket in kept], object)),
        target=[numbers(basket.target_item_id) for basket in kept],
        now=np.array([basket.target_timestamp for basket in kept], np.int64),
        without_history=sum(basket.user_id not in known for basket in baskets),
        without_target=sum(basket.user_id in known and not len(basket.target_item_id) for basket in baskets),
        items_unseen=sum(basket.items_unseen for basket in baskets))


def _events(columns: Mapping[str, Any], event_types: Sequence[str]) -> Events:
    types = ("event_type",) if event_types else ()
    _check_columns("events", columns, ("user_id", "item_id", "category_id", "timestamp", *types))
    user, item, category = (_ids("events", name, columns[name]) for name in ("user_id", "item_id", "category_id"))
    return Events(user, item, category, _seconds(columns["timestamp"]),
                  _ids("events", "group_id", columns["group_id"]) if "group_id" in columns else None,
                  Ids.of(_filled(columns["event_type"])) if event_types else None)


def _items(before: Events, catalog: Mapping[str, Any] | None, content: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The ids (ascending), category ids, titles and joined content tokens of all items, bytes (object) [V] each.

    They are those of the log, and those of the catalogue, which overrules.
    """
    newest = np.lexsort((before.category_id.code, -before.timestamp, before.item_id.code))
    first = newest[np.unique(before.item_id.code[newest], return_index=True)[1]]
    described = {item: (category, b"", b"")
                 for item, category in zip(before.item_id.value, before.category_id.decode()[first])}
    if catalog is not None:
        _check_columns("catalog", catalog, ("item_id", "category_id", *content))
        item, category = (_ids("catalog", name, catalog[name]).decode() for name in ("item_id", "category_id"))
        title = _filled(catalog["title"]) if "title" in catalog else [b""] * len(item)
        # A dict keeps the last of several rows of an item: descending order, so that it is the first.
        rows = sorted(zip(item, category, title, _join_tokens(catalog, content, len(item))), reverse=True)
        described |= {one: rest for one, *rest in rows}
    elif content:
        raise ValueError(f"content must name columns of a catalogue, got {', '.join(content)} and no catalogue. "
                         "Give the catalogue, or leave content out.")
    item_id = sorted(described)
    return tuple(np.array(column, object) for column in (item_id, *zip(*(described[item] for item in item_id))))


def _profiles(user_id: np.ndarray, users: Mapping[str, Any] | None,
              profile: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of all users [Q + 1], and those of each of `user_id` [U, P]."""
    if users is None:
        raise ValueError(f"profile must name columns of users, got {', '.join(profile)} and no users. Give them, or "
                         "leave profile out.")
    _check_columns("users", users, ("user_id", *profile))
    known = _ids("users", "user_id", users["user_id"]).decode()
    described = dict(sorted(zip(known, _join_tokens(users, profile, len(known))), reverse=True))
    joined = np.array([described.get(one, b"") for one in user_id], object)
    tokens, numbers = _number_tokens(joined, len(profile))
    return np.append("", _text(tokens)).astype(object), numbers


def _filled(values: Any) -> np.ndarray:
    """Values as text, empty where there is none: bytes (object) [E]."""
    values = pd.Series(values)
    there = values.notna().to_numpy()
    text = np.full(len(values), b"", object)
    text[there] = _encoded(values[there].to_numpy())
    return text


def _join_tokens(table: Mapping[str, Any], names: Sequence[str], rows: int) -> list[bytes]:
    """The "column=value" tokens of each row, for `features.split_tokens`."""
    columns = [[f"{name}=".encode() + value if value.strip() else b"" for value in _filled(table[name])]
               for name in names]
    between = features.BETWEEN_TOKENS.encode()
    return [between.join(filter(None, tokens)) for tokens in zip(*columns)] if names else [b""] * rows


def _number_tokens(joined: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Joined tokens [V] -> all tokens by falling frequency [A], and each item's numbers [V, width] from 1, then 0."""
    tokens = [features.split_tokens(one) for one in joined]
    item = np.repeat(np.arange(len(tokens)), list(map(len, tokens)))
    place = np.array([place for row in tokens for place in range(len(row))], np.int64)
    number, value = _by_frequency(np.array([token for row in tokens for token in row], object), np.ones(len(item)))
    numbers = np.zeros([len(tokens), width], np.int64)
    numbers[item, place] = number
    return value, numbers


def _by_frequency(category_id: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Category ids [V] of items with so many events -> their numbers [V] from 1, and the ids in that order [C]."""
    value, code = np.unique(category_id, return_inverse=True)
    order = np.lexsort((value, -np.bincount(code, events)))
    number = np.empty(len(value), np.int64)
    number[order] = 1 + np.arange(len(value))
    return number[code], value[order]


def _check_columns(table: str, columns: Mapping[str, Any], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(f"{table} must have the columns {', '.join(wanted)}, missing: {', '.join(missing)}. "
                         "Rename its own columns first.")
    lengths = {name: len(columns[name]) for name in columns}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"the columns of {table} must be of one length, at least 1, got {lengths}.")


def _ids(table: str, name: str, values: Sequence[Any]) -> Ids:
    code, value = pd.factorize(np.asarray(values))
    value = _encoded(value)
    empty = np.append(value == b"", True)[code]  # pandas gives missing values the code -1
    if empty.any():
        raise ValueError(f"every row of {table} must have a value in {name}, but {np.count_nonzero(empty):,} of "
                         f"{len(code):,} rows have none, the first at position {np.argmax(empty)}. "
                         "Drop these rows or name them.")
    return Ids.of(value).take(code)


def _seconds(values: Sequence[Any]) -> np.ndarray:
    seconds = np.asarray(values)
    if seconds.dtype.kind == "O":  # as pandas' nullable integers are
        seconds = pd.to_numeric(seconds, errors="coerce")
    if seconds.dtype.kind not in "iuf":
        raise ValueError(f"the column timestamp of events must hold unix seconds as numbers, got {seconds.dtype}. "
                         'Convert times with: times.astype("datetime64[s]").astype("int64")')
    wrong = ~((seconds >= 0) & (seconds < _YEAR_2100))
    if wrong.any():
        raise ValueError(f"every timestamp of events must be in unix seconds, 0 to {_YEAR_2100:,} (the year 2100), but "
                         f"the one at position {np.argmax(wrong)} is {seconds[np.argmax(wrong)]}. Divide milliseconds "
                         "by 1,000, and drop rows without a time.")
    return np.floor(seconds).astype(np.int64)


def _encoded(values: np.ndarray) -> np.ndarray:
    """Ids as text, a whole float as the integer it is (pandas makes floats of integers beside missing values)."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return np.array([str(value).encode() for value in values], object)


def _text(values: np.ndarray) -> np.ndarray:
    return np.array([value.decode() for value in values], object)
