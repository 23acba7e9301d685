"""Names that a client and a servable share. Imports the standard library alone, so that a client needs nothing.

Axes: B requests · L events · R items returned · K categories returned.

`serving_default`                       `predict_category` (same inputs)
    in  item_id    string [B, L]            out category_id  string  [B, K]   most probable first
        timestamp  int64  [B, L]                probability  float32 [B, K]
        length     int32  [B]                   copy_share   float32 [B, K]   part copied from the history
        now        int64  [B]
    out item_id      string  [B, R]   best first; "" past `count`
        score        float32 [B, R]   falling, comparable inside one answer; with `retrieval.merge: probability` log P,
                                      less what `retrieval.diversity` takes
        category_id  string  [B, R]
        channel      int32   [B, R]   0 long-term, 1 short-term, 2 backfill
        count        int32   [B]      how many of R are real

A servable of a model that tells event types apart (`features.event_types`) takes one input more,
    in  event_type string [B, L]
and one for each column of users' profiles (`features.user_profile`), "" where it is not known,
    in  profile_COLUMN string [B]

`length` alone says which events are real, whatever stands in the padding; below 0 it is 0, above L it is L. Events come
in any order; among equal timestamps, in the order they happened. `now` 0 means the time of the newest event, and events
later than `now` are as old as it. Timestamps are unix seconds, and farther than 2^61 from 1970 is no farther. The
embedded server takes 1 to 1,024 rows a request.
"""

from collections.abc import Sequence
from typing import NamedTuple

MODEL_NAME = "ulim"

SIGNATURE_RECOMMEND = "serving_default"
SIGNATURE_PREDICT_CATEGORY = "predict_category"

ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
LENGTH = "length"
EVENT_TYPE = "event_type"
PROFILE = "profile_"  # and the name of the column
NOW = "now"

SCORE = "score"
CATEGORY_ID = "category_id"
CHANNEL = "channel"
COUNT = "count"
PROBABILITY = "probability"
COPY_SHARE = "copy_share"

CHANNELS = ("long-term", "short-term", "backfill")


class Tensor(NamedTuple):
    """What an input or output must be: a dtype as TensorFlow names it, and one letter of the legend for each axis."""

    dtype: str
    axes: str


_INPUTS = {ITEM_ID: Tensor("string", "BL"), TIMESTAMP: Tensor("int64", "BL"), LENGTH: Tensor("int32", "B"),
           NOW: Tensor("int64", "B")}
OUTPUTS = {
    SIGNATURE_RECOMMEND: {ITEM_ID: Tensor("string", "BR"), SCORE: Tensor("float32", "BR"),
                          CATEGORY_ID: Tensor("string", "BR"), CHANNEL: Tensor("int32", "BR"),
                          COUNT: Tensor("int32", "B")},
    SIGNATURE_PREDICT_CATEGORY: {CATEGORY_ID: Tensor("string", "BK"), PROBABILITY: Tensor("float32", "BK"),
                                 COPY_SHARE: Tensor("float32", "BK")},
}


def inputs(event_types: bool, profile: Sequence[str]) -> dict[str, Tensor]:
    """The inputs of every signature, by name.

    Args:
        event_types: whether the model tells types of events apart.
        profile: columns of users' profiles that it reads.
    """
    types = {EVENT_TYPE: Tensor("string", "BL")} if event_types else {}
    return _INPUTS | types | {PROFILE + column: Tensor("string", "B") for column in profile}
