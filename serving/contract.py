"""Names that a client and a servable share. Imports the standard library alone, so that a client needs nothing.

Axes: B requests · L events · n ids of a filter · R items returned · K categories returned · E events told · D width of
interests · W = D + 1.

Every signature but `encode_item` takes a history,
    in  item_id    string [B, L]
        timestamp  int64  [B, L]
        length     int32  [B]
        now        int64  [B]
and of a model that tells event types apart (`features.event_types`)
    in  event_type string [B, L]
and for each column of users' profiles (`features.user_profile`), "" where it is not known,
    in  profile_COLUMN string [B]

`length` alone says which events are real, whatever stands in the padding; below 0 it is 0, above L it is L, which is
that of the widest request where a server merges several: only a true length is safe there. Events come in any order;
among equal timestamps, in the order they happened. `now` 0 means the time of the newest event, and events later than
`now` are as old as it. Timestamps are unix seconds, and farther than 2^61 from 1970 is no farther. The embedded server
takes 1 to 1,024 rows a request.

`serving_default`                                  items to show
    out item_id      string  [B, R]   best first; "" past `count`
        score        float32 [B, R]   falling, comparable inside one answer; with `retrieval.merge: probability` log P,
                                      less what `retrieval.diversity` takes
        category_id  string  [B, R]
        channel      int32   [B, R]   0 long-term, 1 short-term, 2 backfill
        count        int32   [B]      how many of R are real

`retrieve`                                         the same, of what each request lets through
    in  exclude_item_id   string [B, n], exclude_item_id_length   int32 [B]   never these items
        allow_category_id string [B, n], allow_category_id_length int32 [B]   only items of these; length 0: of all
        deny_category_id  string [B, n], deny_category_id_length  int32 [B]   never items of these; goes before allow
        exclude_seen      bool   [B]   never an item of the history; always so with `retrieval.exclude_seen`
        limit             int32  [B]   at most so many items; 0: R
    out as `serving_default`
    Each n is its own, 0 included, and lengths say what is real, as in a history. Unknown ids filter nothing out and let
    nothing in: where only unknown categories are allowed, nothing is answered. Filters act inside the search: R items
    come back while so many are let through. Probabilities are those given that the category is let through. Without any
    filter the answer is that of `serving_default`.

`explain`                                          as `retrieve`, and why
    in  as `retrieve`
    out as `retrieve`, and
        copied           float32 [B, R]      the probability of the item's category, as `predict_category` has it:
        generated        float32 [B, R]      what was copied from the history, and the rest
        event_item_id    string  [B, R, E]   events that weigh most in the long-term attention of the item's category,
        event_timestamp  int64   [B, R, E]   the weightiest first; "", 0 and 0 past the last one, and where the category
        event_weight     float32 [B, R, E]   was not among the K that were searched

`predict_category`                                 what the user may turn to next
    out category_id  string  [B, K]   most probable first
        probability  float32 [B, K]
        copy_share   float32 [B, K]   part copied from the history

`encode_user`                                      the user, for a vector store of another kind
    out interest      float32 [B, D]      q, what the newest events say
        short_vector  float32 [B, W]      to search all items with
        category_id   string  [B, K]      most probable first
        probability   float32 [B, K]
        long_vector   float32 [B, K, W]   to search the items of each category with

`encode_item`                                      items, for the same
    in  item_id      string  [B]
    out vector       float32 [B, W]   whose dot product with a vector of `encode_user` is the score; 0 of an unknown one
        category_id  string  [B]      "" of an unknown item
        known        bool    [B]

A server that batches requests (`--enable_batching`) pads them to one width, and TensorFlow Serving refuses a batch in
which one tensor is empty and another is not. So a client of such a server sends at least one column, of any value,
where it has no event or no id.
"""

from collections.abc import Sequence
from typing import NamedTuple

MODEL_NAME = "ulim"

SIGNATURE_RECOMMEND = "serving_default"
SIGNATURE_RETRIEVE = "retrieve"
SIGNATURE_EXPLAIN = "explain"
SIGNATURE_PREDICT_CATEGORY = "predict_category"
SIGNATURE_ENCODE_USER = "encode_user"
SIGNATURE_ENCODE_ITEM = "encode_item"

ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
LENGTH = "length"
EVENT_TYPE = "event_type"
PROFILE = "profile_"  # and the name of the column
NOW = "now"

EXCLUDE_ITEM_ID = "exclude_item_id"
EXCLUDE_ITEM_ID_LENGTH = "exclude_item_id_length"
ALLOW_CATEGORY_ID = "allow_category_id"
ALLOW_CATEGORY_ID_LENGTH = "allow_category_id_length"
DENY_CATEGORY_ID = "deny_category_id"
DENY_CATEGORY_ID_LENGTH = "deny_category_id_length"
EXCLUDE_SEEN = "exclude_seen"
LIMIT = "limit"

SCORE = "score"
CATEGORY_ID = "category_id"
CHANNEL = "channel"
COUNT = "count"
COPIED = "copied"
GENERATED = "generated"
EVENT_ITEM_ID = "event_item_id"
EVENT_TIMESTAMP = "event_timestamp"
EVENT_WEIGHT = "event_weight"
PROBABILITY = "probability"
COPY_SHARE = "copy_share"
INTEREST = "interest"
SHORT_VECTOR = "short_vector"
LONG_VECTOR = "long_vector"
VECTOR = "vector"
KNOWN = "known"

CHANNELS = ("long-term", "short-term", "backfill")


class Tensor(NamedTuple):
    """What an input or output must be: a dtype as TensorFlow names it, and one letter of the legend for each axis."""

    dtype: str
    axes: str


_HISTORY = {ITEM_ID: Tensor("string", "BL"), TIMESTAMP: Tensor("int64", "BL"), LENGTH: Tensor("int32", "B"),
            NOW: Tensor("int64", "B")}
FILTERS = {
    EXCLUDE_ITEM_ID: Tensor("string", "Bn"), EXCLUDE_ITEM_ID_LENGTH: Tensor("int32", "B"),
    ALLOW_CATEGORY_ID: Tensor("string", "Bn"), ALLOW_CATEGORY_ID_LENGTH: Tensor("int32", "B"),
    DENY_CATEGORY_ID: Tensor("string", "Bn"), DENY_CATEGORY_ID_LENGTH: Tensor("int32", "B"),
    EXCLUDE_SEEN: Tensor("bool", "B"), LIMIT: Tensor("int32", "B")}
_ITEMS = {ITEM_ID: Tensor("string", "BR"), SCORE: Tensor("float32", "BR"), CATEGORY_ID: Tensor("string", "BR"),
          CHANNEL: Tensor("int32", "BR"), COUNT: Tensor("int32", "B")}
OUTPUTS = {
    SIGNATURE_RECOMMEND: _ITEMS,
    SIGNATURE_RETRIEVE: _ITEMS,
    SIGNATURE_EXPLAIN: _ITEMS | {
        COPIED: Tensor("float32", "BR"), GENERATED: Tensor("float32", "BR"), EVENT_ITEM_ID: Tensor("string", "BRE"),
        EVENT_TIMESTAMP: Tensor("int64", "BRE"), EVENT_WEIGHT: Tensor("float32", "BRE")},
    SIGNATURE_PREDICT_CATEGORY: {CATEGORY_ID: Tensor("string", "BK"), PROBABILITY: Tensor("float32", "BK"),
                                 COPY_SHARE: Tensor("float32", "BK")},
    SIGNATURE_ENCODE_USER: {INTEREST: Tensor("float32", "BD"), SHORT_VECTOR: Tensor("float32", "BW"),
                            CATEGORY_ID: Tensor("string", "BK"), PROBABILITY: Tensor("float32", "BK"),
                            LONG_VECTOR: Tensor("float32", "BKW")},
    SIGNATURE_ENCODE_ITEM: {VECTOR: Tensor("float32", "BW"), CATEGORY_ID: Tensor("string", "B"),
                            KNOWN: Tensor("bool", "B")},
}
FILTERED = (SIGNATURE_RETRIEVE, SIGNATURE_EXPLAIN)  # that take filters
# What each servable answers; its name is the name of the model.
SERVABLES = {
    MODEL_NAME: tuple(OUTPUTS),
    "ulim_gpu": tuple(OUTPUTS),
    "ulim_encoder": (SIGNATURE_PREDICT_CATEGORY, SIGNATURE_ENCODE_USER, SIGNATURE_ENCODE_ITEM),
}


def inputs(signature: str, event_types: bool = False, profile: Sequence[str] = ()) -> dict[str, Tensor]:
    """The inputs of a signature, by name.

    Args:
        signature: its name.
        event_types: whether the model tells types of events apart.
        profile: columns of users' profiles that it reads.
    """
    if signature == SIGNATURE_ENCODE_ITEM:
        return {ITEM_ID: Tensor("string", "B")}
    types = {EVENT_TYPE: Tensor("string", "BL")} if event_types else {}
    filters = FILTERS if signature in FILTERED else {}
    return _HISTORY | types | {PROFILE + column: Tensor("string", "B") for column in profile} | filters
