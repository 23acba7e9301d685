"""Users' events -> histories partitioned by category, and the held-out baskets: arrays, no loop over events.

A user's **time order** is (timestamp, group, hash of the item and a seed, type). A log often lists the items of a
basket that share a timestamp in ascending id, which would tell a model what comes next; the hash shuffles them, the
same way on every run. Without groups, a basket is the user's events with equal timestamp.

A history is category-major: its categories are in ascending byte order of their ids, the events of each in time order.

Axes: `ulim_tf/features.py`; E is the events of a chunk or shard, of one or many users.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

DAY_SECONDS = 86_400


@dataclasses.dataclass(frozen=True)
class Ids:
    """A column of ids that holds each distinct id once, so that sorting and comparing work on integers.

    Attributes:
        code: int64 [E], index into `value`; the order of codes is the order of ids.
        value: bytes (object) [n], the distinct ids that occur, ascending.
    """

    code: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, values: Sequence[bytes] | np.ndarray) -> "Ids":
        """Encodes bytes [E]."""
        return cls.of_distinct(*pd.factorize(np.asarray(values, dtype=object)))

    @classmethod
    def of_distinct(cls, code: np.ndarray, value: np.ndarray) -> "Ids":
        """Encodes ids that are codes [E] of distinct values [n] already, in any order and with none to spare."""
        order = np.argsort(value)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return cls(place[code], value[order])

    @classmethod
    def concat(cls, parts: Sequence["Ids"]) -> "Ids":
        """One column of all the parts' ids, in order."""
        merged = cls.of(np.concatenate([part.value for part in parts]))
        first = np.cumsum([0] + [len(part.value) for part in parts])
        return cls(np.concatenate([merged.code[start:][part.code] for start, part in zip(first, parts)]), merged.value)

    def take(self, index: np.ndarray) -> "Ids":
        """The ids at `index` (positions int64 [n] or a mask bool [E]), without the values that no longer occur."""
        code = self.code[index]
        used = np.zeros(len(self.value), dtype=bool)
        used[code] = True
        return Ids((np.cumsum(used) - 1)[code], self.value[used])

    def at(self, index: np.ndarray | slice) -> "Ids":
        """The ids at `index`, cheaper than `take`: with all values, also those that no longer occur."""
        return Ids(self.code[index], self.value)

    def decode(self) -> np.ndarray:
        """Bytes (object) [E]."""
        return self.value[self.code]


@dataclasses.dataclass(frozen=True)
class Events:
    """Columns of a log, in any order.

    Attributes:
        user_id, item_id, category_id: Ids [E].
        timestamp: int64 [E], unix seconds.
        group_id: Ids [E], the basket of each event, its name unique within a user; None where the log has no groups.
        event_type: Ids [E]; None where types are not told apart.
    """

    user_id: Ids
    item_id: Ids
    category_id: Ids
    timestamp: np.ndarray
    group_id: Ids | None = None
    event_type: Ids | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    @classmethod
    def concat(cls, parts: Sequence["Events"]) -> "Events":
        """The events of all parts, which all have groups and types or all have none."""
        return cls(
            user_id=Ids.concat([part.user_id for part in parts]),
            item_id=Ids.concat([part.item_id for part in parts]),
            category_id=Ids.concat([part.category_id for part in parts]),
            timestamp=np.concatenate([part.timestamp for part in parts]),
            group_id=None if parts[0].group_id is None else Ids.concat(
                [_given("group_id", part.group_id) for part in parts]),
            event_type=None if parts[0].event_type is None else Ids.concat(
                [_given("event_type", part.event_type) for part in parts]),
        )

    def of_types(self, types: Sequence[str]) -> "Events":
        """The events of these types; all events if there are none.

        Raises:
            ValueError: there are types, but the events do not tell theirs apart.
        """
        if not types:
            return self
        event_type = _given("event_type", self.event_type)
        wanted = np.isin(event_type.value, [one.encode() for one in types])
        return self.at(wanted[event_type.code])

    def take(self, index: np.ndarray) -> "Events":
        """The events at `index` (positions int64 [n] or a mask bool [E]), without the ids that no longer occur."""
        return self._each(lambda ids: ids.take(index), index)

    def at(self, index: np.ndarray | slice) -> "Events":
        """The events at `index`, also a slice, as `Ids.at`."""
        return self._each(lambda ids: ids.at(index), index)

    def _each(self, of_ids: Callable[[Ids], Ids], index: np.ndarray | slice) -> "Events":
        return Events(
            user_id=of_ids(self.user_id),
            item_id=of_ids(self.item_id),
            category_id=of_ids(self.category_id),
            timestamp=self.timestamp[index],
            group_id=None if self.group_id is None else of_ids(self.group_id),
            event_type=None if self.event_type is None else of_ids(self.event_type),
        )


@dataclasses.dataclass(frozen=True)
class UserHistory:
    """One user as stored; the arrays are named and laid out as in `ulim_tf/features.py`.

    Attributes:
        event_type: bytes (object) [L]; None where types are not told apart.
        events_cut: how many of the user's oldest events were left out.
    """

    user_id: bytes
    event_item_id: np.ndarray
    event_timestamp: np.ndarray
    event_rank: np.ndarray
    event_basket_start: np.ndarray
    category_id: np.ndarray
    category_length: np.ndarray
    event_type: np.ndarray | None
    events_cut: int


@dataclasses.dataclass(frozen=True)
class Histories:
    """The histories of U users, one after the other; E is their events, R their categories.

    Attributes:
        user_id: bytes (object) [U], ascending.
        event_bounds, category_bounds: int64 [U + 1], where the events and the categories of each user begin and end.
        event_item_id: Ids [E]; event_timestamp, event_rank, event_basket_start: int64 [E].
        event_type: Ids [E]; None where types are not told apart.
        category_id: Ids [R]; category_length: int64 [R].
        events_cut: int64 [U], how many of each user's oldest events were left out.
        duplicates: int64 [U], how many of the others repeat another of them.
    """

    user_id: np.ndarray
    event_bounds: np.ndarray
    event_item_id: Ids
    event_timestamp: np.ndarray
    event_rank: np.ndarray
    event_basket_start: np.ndarray
    event_type: Ids | None
    category_bounds: np.ndarray
    category_id: Ids
    category_length: np.ndarray
    events_cut: np.ndarray
    duplicates: np.ndarray


@dataclasses.dataclass(frozen=True)
class HeldOutBasket:
    """What a user took in their first basket of the held-out time.

    Attributes:
        target_item_id: bytes (object) [T], distinct, in time order; empty if none of the basket was seen before.
        target_timestamp: unix seconds of the basket's first event.
        items_unseen: distinct items of the basket that were dropped because no user had them before the cut.
    """

    user_id: bytes
    target_item_id: np.ndarray
    target_timestamp: int
    items_unseen: int


def histories(events: Events, max_history: int, seed: int) -> Iterator[UserHistory]:
    """The history of each user, in ascending order of user id; arguments as of `lay_out`."""
    laid_out = lay_out(events, max_history, seed)
    item, category = laid_out.event_item_id.decode(), laid_out.category_id.decode()
    event_type = None if laid_out.event_type is None else laid_out.event_type.decode()
    for index, user_id in enumerate(laid_out.user_id):
        mine = slice(*laid_out.event_bounds[index:index + 2])
        rows = slice(*laid_out.category_bounds[index:index + 2])
        yield UserHistory(
            user_id=user_id,
            event_item_id=item[mine],
            event_timestamp=laid_out.event_timestamp[mine],
            event_rank=laid_out.event_rank[mine],
            event_basket_start=laid_out.event_basket_start[mine],
            category_id=category[rows],
            category_length=laid_out.category_length[rows],
            event_type=None if event_type is None else event_type[mine],
            events_cut=int(laid_out.events_cut[index]),
        )


def lay_out(events: Events, max_history: int, seed: int, drop_duplicates: bool = False) -> Histories:
    """Lays out the histories of all users.

    Args:
        events: all events of the users.
        max_history: L, how many of a user's newest events are kept; at least 1.
        seed: of the shuffle inside a basket.
        drop_duplicates: of those, events that repeat another in user, item, time, basket and type are left out.
    """
    ordered = events.at(_time_order(events, seed))
    total = np.bincount(ordered.user_id.code)
    kept = ordered
    if len(total) and total.max() > max_history:
        newest_first = np.cumsum(total)[ordered.user_id.code] - np.arange(len(ordered))
        kept = ordered.at(newest_first <= max_history)
    cut = total - np.bincount(kept.user_id.code)
    repeats = _repeats(kept)
    duplicates = np.bincount(kept.user_id.code[repeats], minlength=len(total))
    if drop_duplicates:
        kept = kept.at(~repeats)

    user = kept.user_id.code
    bounds = np.append(0, np.cumsum(np.bincount(user)))
    rank = np.arange(len(kept)) - bounds[user]
    basket_start = _basket_opening(kept) - bounds[user]

    row_key = user * len(kept.category_id.value) + kept.category_id.code
    by_category = np.argsort(row_key, kind="stable")
    row = _run_starts(row_key[by_category])
    return Histories(
        user_id=kept.user_id.value,
        event_bounds=bounds,
        event_item_id=Ids(kept.item_id.code[by_category], kept.item_id.value),
        event_timestamp=kept.timestamp[by_category],
        event_rank=rank[by_category],
        event_basket_start=basket_start[by_category],
        event_type=None if kept.event_type is None else Ids(kept.event_type.code[by_category], kept.event_type.value),
        category_bounds=np.searchsorted(row, bounds),
        category_id=Ids(kept.category_id.code[by_category][row], kept.category_id.value),
        category_length=np.diff(np.append(row, len(kept))),
        events_cut=cut,
        duplicates=duplicates,
    )


def cap(events: Events, cut: int, most: int, seed: int, target_types: Sequence[str] = ()) -> Events:
    """What can matter of users with very many events, in the order of `events`.

    Args:
        events: some of the users' events, before and after the cut.
        cut: unix seconds.
        most: of each user, so many of the newest events before the cut are kept, and so many of the oldest from it on.
        seed: of the shuffle inside a basket.
        target_types: types of events that are held out; others are counted on their own after the cut. Empty: all.
    """
    kind = (events.timestamp >= cut).astype(np.int64)
    if target_types:
        event_type = _given("event_type", events.event_type)
        wanted = np.isin(event_type.value, [one.encode() for one in target_types])
        kind[(kind == 1) & ~wanted[event_type.code]] = 2
    part = 3 * events.user_id.code + kind
    crowded = np.bincount(part)[part] > most
    if not crowded.any():
        return events
    place = np.flatnonzero(crowded)
    place = place[_time_order(events.at(place), seed)]
    place = place[np.argsort(part[place], kind="stable")]
    starts = _run_starts(part[place])
    length = np.diff(np.append(starts, len(place)))
    from_oldest = np.arange(len(place)) - np.repeat(starts, length)
    kept = np.where(kind[place] == 0, from_oldest >= np.repeat(length, length) - most, from_oldest < most)
    return events.take(np.sort(np.append(np.flatnonzero(~crowded), place[kept])))


def held_out_baskets(events: Events, cut: int, seen: np.ndarray, seed: int) -> Iterator[HeldOutBasket]:
    """The first basket of each user that starts at or after `cut`, for users who have one.

    A basket that started before the cut is part of the history and never a target, not even its later events. Where the
    log has no groups, the basket is all that the user does within a day of their first event at or after the cut.

    Args:
        events: all events of the users, before and after the cut.
        cut: unix seconds.
        seen: bool [n], which of `events.item_id.value` any user of the log had before the cut.
        seed: of the shuffle inside a basket.
    """
    late = events.timestamp >= cut
    if events.group_id is not None:  # with what came before of their baskets
        late = np.isin(np.arange(len(events.group_id.value)), events.group_id.code[late])[events.group_id.code]
    places = np.flatnonzero(late)
    ordered = events.at(places[_time_order(events.at(places), seed)])
    opening = _basket_opening(ordered)
    held_out = np.flatnonzero(ordered.timestamp[opening] >= cut)
    user = ordered.user_id.code[held_out]
    first_of_user = _run_starts(user)
    first = np.repeat(held_out[first_of_user], np.diff(np.append(first_of_user, len(user))))
    if ordered.group_id is None:
        member = ordered.timestamp[held_out] < ordered.timestamp[first] + DAY_SECONDS
    else:
        member = opening[held_out] == first

    held_out, user = held_out[member], user[member]
    bounds = np.append(_run_starts(user), len(user))
    for start, end in itertools.pairwise(bounds):
        basket = held_out[start:end]
        codes = ordered.item_id.code[basket]
        codes = codes[np.sort(np.unique(codes, return_index=True)[1])]
        known = seen[codes]
        yield HeldOutBasket(
            user_id=ordered.user_id.value[user[start]],
            target_item_id=ordered.item_id.value[codes[known]],
            target_timestamp=int(ordered.timestamp[basket[0]]),
            items_unseen=int(np.count_nonzero(~known)),
        )


def _given(name: str, ids: Ids | None) -> Ids:
    if ids is None:
        raise ValueError(f"{name} must be there for all events, got some without. Read {name} with the log, or name no "
                         "types.")
    return ids


def _time_order(events: Events, seed: int) -> np.ndarray:
    """int64 [E], positions that put the events in the order of users and, inside a user, in time order."""
    key = str(seed).encode()
    shuffle = np.zeros(len(events.item_id.value), np.uint64)
    used = np.flatnonzero(np.bincount(events.item_id.code))
    shuffle[used] = [_digest(item, key) for item in events.item_id.value[used]]
    keys = [shuffle[events.item_id.code], events.timestamp, events.user_id.code]
    if events.group_id is not None:
        keys.insert(1, events.group_id.code)
    if events.event_type is not None:
        keys.insert(0, events.event_type.code)
    return np.lexsort(keys)


@functools.lru_cache(1 << 18)
def _digest(item: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(item, digest_size=8, key=key).digest(), "little")


def _repeats(ordered: Events) -> np.ndarray:
    """bool [E], whether an event is the one before it again."""
    columns = [ordered.user_id.code, ordered.timestamp, ordered.item_id.code]
    columns += [ids.code for ids in (ordered.group_id, ordered.event_type) if ids is not None]
    repeats = np.ones(len(ordered), dtype=bool)
    repeats[_run_starts(*columns)] = False
    return repeats


def _basket_opening(ordered: Events) -> np.ndarray:
    """int64 [E], position of the first event of each event's basket; groups may interleave in time."""
    if ordered.group_id is None:
        group, by_basket = ordered.timestamp, np.arange(len(ordered))
    else:
        group = ordered.group_id.code
        # Stable: time order inside a basket.
        by_basket = np.argsort(ordered.user_id.code * len(ordered.group_id.value) + group, kind="stable")
    starts = _run_starts(ordered.user_id.code[by_basket], group[by_basket])
    opening = np.empty(len(ordered), dtype=np.int64)
    opening[by_basket] = np.repeat(by_basket[starts], np.diff(np.append(starts, len(ordered))))
    return opening


def _run_starts(*columns: np.ndarray) -> np.ndarray:
    """Positions where any of the columns [E] differs from the position before; 0 is one unless E is 0."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(changed)
