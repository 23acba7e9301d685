"""A user's events, as a program has them: in lists, in NumPy arrays or in a DataFrame."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.texts import as_texts, listed


@dataclasses.dataclass(frozen=True)
class History:
    """A user's events in any order; among equal timestamps, in the order they happened. May be empty.

    NumPy arrays and pandas Series are taken as well, and become lists; timestamps may then be datetimes, which are read
    as UTC where they name no zone.

    Attributes:
        item_ids: one an event.
        timestamps: unix seconds, one an event.
        now: the moment that is asked about, unix seconds; 0 means the time of the newest event.
        event_types: one an event, for a servable that tells them apart; None for one that does not.
        profile: column -> what is known of the user, for a servable that reads profiles.
        user_id: who; never sent nor logged. A split over versions (`serving/client/split.py`) needs it.

    Raises:
        ValueError: not as many of the one as of the other; a timestamp that is no whole number.
        TypeError: ids or types that are no text.
    """

    item_ids: Sequence[str] = ()
    timestamps: Sequence[int] = ()
    now: int = 0
    event_types: Sequence[str] | None = None
    profile: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user_id: str = ""

    def __post_init__(self):
        object.__setattr__(self, "item_ids", as_texts("item_ids", self.item_ids))
        if self.event_types is not None:
            object.__setattr__(self, "event_types", as_texts("event_types", self.event_types))
        object.__setattr__(self, "timestamps", _seconds(self.timestamps))
        if len(self.item_ids) != len(self.timestamps):
            raise ValueError(f"item_ids and timestamps must be as many, got {len(self.item_ids)} item_ids "
                             f"and {len(self.timestamps)} timestamps")
        if self.event_types is not None and len(self.event_types) != len(self.item_ids):
            raise ValueError(f"item_ids and event_types must be as many, got {len(self.item_ids)} item_ids "
                             f"and {len(self.event_types)} event_types")


def histories_from_frame(frame: Any, now: int = 0) -> dict[str, History]:
    """The histories of a log's users.

    Args:
        frame: pandas DataFrame with the columns `user_id`, `item_id` (text) and `timestamp` (unix seconds, or
            datetimes), and maybe `event_type` (text), which is sent where it is there; a row an event.
        now: of each history.

    Returns:
        user_id -> history, users in the order they first come, a user's events in the order of their rows.

    Raises:
        ValueError: a column is missing, or as `History`.
        TypeError: as `History`.
    """
    missing = [name for name in ("user_id", "item_id", "timestamp") if name not in frame]
    if missing:
        raise ValueError(f"the frame must have the columns user_id, item_id and timestamp, but has no "
                         f"{', '.join(missing)}; it has {', '.join(map(str, frame)) or 'none'}. Rename yours.")
    items, times = listed(frame["item_id"]), _seconds(frame["timestamp"])
    types = listed(frame["event_type"]) if "event_type" in frame else None
    places: dict[str, list[int]] = {}
    for place, user in enumerate(as_texts("user_id", frame["user_id"])):
        places.setdefault(user, []).append(place)
    return {user: History([items[place] for place in of_user], [times[place] for place in of_user], now,
                          None if types is None else [types[place] for place in of_user], user_id=user)
            for user, of_user in places.items()}


def _seconds(values: Sequence[Any]) -> Sequence[int]:
    if isinstance(values, list | tuple):
        return values
    if str(getattr(values, "dtype", "")).startswith("datetime64"):
        moments = np.asarray(values, "datetime64[ns]")  # of a Series with a zone, in UTC
        if np.isnat(moments).any():
            raise ValueError("timestamps must all be known, got NaT: leave such events out")
        return moments.astype("datetime64[s]").astype(np.int64).tolist()
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"timestamps must be whole unix seconds or datetimes, got {array.dtype}: "
                         "convert them, as with .astype('int64')")
    return array.tolist()
