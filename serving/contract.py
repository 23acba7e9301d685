"""Names that a client and a servable share. Imports nothing, so that a client needs nothing.

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

`length` alone says which events are real, whatever stands in the padding. Events come in any order; among equal
timestamps, in the order they happened. `now` 0 means the time of the newest event. Timestamps are unix seconds.
"""

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
