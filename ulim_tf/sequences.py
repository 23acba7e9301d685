"""Users' events -> histories partitioned by category, and the held-out baskets: pure NumPy, no loop over events.

A user's **time order** is (timestamp, group, hash of the item and a seed). A log often lists the items of a basket that
share a timestamp in ascending id, which would tell a model what comes next; the hash shuffles them, the same way on
every run. Without groups, a basket is the user's events with equal timestamp.

A history is category-major: its categories are in ascending byte order of their ids, the events of each in time order.

Axes: `ulim_tf/features.py`; E is the events of a chunk or shard, of one or many users.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

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
        value, code = np.unique(np.asarray(values, dtype=object), return_inverse=True)
        return cls(code.astype(np.int64), value)

    @classmethod
    def concat(cls, parts: Sequence["Ids"]) -> "Ids":
        """One column of all the parts' ids, in order."""
        merged = cls.of(np.concatenate([part.value for part in parts]))
        first = np.cumsum([0] + [len(part.value) for part in parts])
        return cls(np.concatenate([merged.code[start:][part.code] for start, part in zip(first, parts)]), merged.value)

    def take(self, index: np.ndarray) -> "Ids":
        """The ids at `index` (positions or a mask), without the values that no longer occur."""
        code = self.code[index]
        used = np.zeros(len(self.value), dtype=bool)
        used[code] = True
        return Ids((np.cumsum(used) - 1)[code], self.value[used])

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
            group_id=None if parts[0].group_id is None else Ids.concat([part.group_id for part in parts]),
            event_type=None if parts[0].event_type is None else Ids.concat([part.event_type for part in parts]),
        )

    def of_types(self, types: Sequence[str]) -> "Events":
        """The events of these types; all events if there are none."""
        if not types:
            return self
        wanted = np.isin(self.event_type.value, [one.encode() for one in types])
        return self.take(wanted[self.event_type.code])

    def take(self, index: np.ndarray) -> "Events":
        """The events at `index`: positions or a mask."""
        return Events(
            user_id=self.user_id.take(index),
            item_id=self.item_id.take(index),
            category_id=self.category_id.take(index),
            timestamp=self.timestamp[index],
            group_id=None if self.group_id is None else self.group_id.take(index),
            event_type=None if self.event_type is None else self.event_type.take(index),
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
    """Lays out the history of each user, in ascending order of user id.

    Args:
        events: all events of the users.
        max_history: L, how many of a user's newest events are kept; at least 1.
        seed: of the shuffle inside a basket.
    """
    ordered = events.take(_time_order(events, seed))
    total = np.bincount(ordered.user_id.code)
    newest_first = np.cumsum(total)[ordered.user_id.code] - np.arange(len(ordered))
    kept = ordered.take(newest_first <= max_history)

    user = kept.user_id.code
    bounds = np.append(0, np.cumsum(np.bincount(user)))
    rank = np.arange(len(kept)) - bounds[user]
    basket_start = _basket_opening(kept) - bounds[user]

    by_category = np.lexsort((kept.category_id.code, user))
    row = _run_starts(user, kept.category_id.code[by_category])
    row_length = np.diff(np.append(row, len(kept)))
    row_category = kept.category_id.decode()[by_category][row]
    row_bounds = np.searchsorted(user[row], np.arange(len(bounds)))

    item, timestamp = kept.item_id.decode()[by_category], kept.timestamp[by_category]
    rank, basket_start = rank[by_category], basket_start[by_category]
    event_type = None if kept.event_type is None else kept.event_type.decode()[by_category]
    for index, user_id in enumerate(kept.user_id.value):
        mine = slice(bounds[index], bounds[index + 1])
        my_rows = slice(row_bounds[index], row_bounds[index + 1])
        yield UserHistory(
            user_id=user_id,
            event_item_id=item[mine],
            event_timestamp=timestamp[mine],
            event_rank=rank[mine],
            event_basket_start=basket_start[mine],
            category_id=row_category[my_rows],
            category_length=row_length[my_rows],
            event_type=None if event_type is None else event_type[mine],
            events_cut=int(total[index] - (mine.stop - mine.start)),
        )


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
    ordered = events.take(_time_order(events, seed))
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


def _time_order(events: Events, seed: int) -> np.ndarray:
    """int64 [E], positions that put the events in the order of users and, inside a user, in time order."""
    key = str(seed).encode()
    digests = b"".join(hashlib.blake2b(item, digest_size=8, key=key).digest() for item in events.item_id.value)
    shuffled = np.frombuffer(digests, dtype=np.uint64)[events.item_id.code]
    group = events.timestamp if events.group_id is None else events.group_id.code
    return np.lexsort((shuffled, group, events.timestamp, events.user_id.code))


def _basket_opening(ordered: Events) -> np.ndarray:
    """int64 [E], position of the first event of each event's basket; groups may interleave in time."""
    group = ordered.timestamp if ordered.group_id is None else ordered.group_id.code
    by_basket = np.lexsort((group, ordered.user_id.code))  # stable: time order inside a basket
    starts = _run_starts(ordered.user_id.code[by_basket], group[by_basket])
    opening = np.empty(len(ordered), dtype=np.int64)
    opening[by_basket] = np.repeat(by_basket[starts], np.diff(np.append(starts, len(ordered))))
    return opening


def _run_starts(*columns: np.ndarray) -> np.ndarray:
    """Positions where any of the columns [E] differs from the position before; 0 is one unless E is 0."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(changed)
