"""Every stored feature of a user and of the catalogue, and the axes that all docstrings use.

Axes
    B batch · L long history · S short history · M same-category subsequence · N distinct categories in a history
    K predicted categories · C all categories · V all items · D width · T targets of a moment · R candidates returned
    U users · O buckets of items without a row · A content tokens · P most tokens of an item or a user · E excluded
    items of a search, events of many users in a log

A user is stored once, its events re-ordered into category subsequences (category-major, time-ordered inside each):

    feature              per user   meaning
    user_id              bytes [1]  as in the log
    event_item_id        bytes [L]  category-major
    event_timestamp      int64 [L]  unix seconds
    event_rank           int64 [L]  position of the event in the user's time order, 0 is the oldest
    event_basket_start   int64 [L]  rank of the first event of the event's basket; what came before it is its history
    category_id          bytes [N]  in the order of the subsequences
    category_length      int64 [N]  events in each subsequence; sums to L
    target_item_id       bytes [T]  the held-out basket (split `eval` only)
    target_timestamp     int64 [1]  of its first event (split `eval` only)

The catalogue is the split `catalog` of the same examples, many items an example:

    catalog_item_id      bytes [n]
    catalog_category_id  bytes [n]
    catalog_title        bytes [n]  for people; may be empty

    where `features.event_types` names types,

    event_type           int64 [L]  per user: 1 for the first of them, 0 for any other

    where `features.user_profile` names columns of the users file,

    profile              bytes [n]  per user: "column=value" tokens

    and, where `features.item_content` names columns of the catalogue:

    catalog_content         bytes [sum of lengths]  "column=value" tokens, item after item
    catalog_content_length  int64 [n]               tokens of each item

Every example has every feature, an empty list where it does not apply, so that all splits are of one schema.

After Transform, ids are int64 indices into the shared vocabularies, under the same names. Index 0 is the unknown item
or category: never a padding mark (masks come from lengths alone), never retrieved, and dropped from histories. Items
with a row of their own are 1..V. Where `vocabulary.oov_buckets` is O, all others are V + 1..V + O, by a hash of the id:
read in histories, in the category that the catalogue gives the id, but no target and never retrieved.
"""

from collections.abc import Sequence

import numpy as np

USER_ID = "user_id"
EVENT_ITEM = "event_item_id"
EVENT_TIMESTAMP = "event_timestamp"
EVENT_RANK = "event_rank"
EVENT_BASKET_START = "event_basket_start"
EVENT_TYPE = "event_type"
PROFILE = "profile"
CATEGORY = "category_id"
CATEGORY_LENGTH = "category_length"
TARGET_ITEM = "target_item_id"
TARGET_TIMESTAMP = "target_timestamp"

CATALOG_ITEM = "catalog_item_id"
CATALOG_CATEGORY = "catalog_category_id"
CATALOG_TITLE = "catalog_title"
CATALOG_CONTENT = "catalog_content"
CATALOG_CONTENT_LENGTH = "catalog_content_length"
BETWEEN_TOKENS = "\x1f"  # in an item's tokens as one text: the unit separator of ASCII

BYTES = (USER_ID, EVENT_ITEM, CATEGORY, TARGET_ITEM, CATALOG_ITEM, CATALOG_CATEGORY, CATALOG_TITLE)
INTEGERS = (EVENT_TIMESTAMP, EVENT_RANK, EVENT_BASKET_START, CATEGORY_LENGTH, TARGET_TIMESTAMP)

SPLIT_TRAIN = "train"
SPLIT_EVAL = "eval"
SPLIT_CATALOG = "catalog"

ITEM_VOCABULARY = "item_id"
CATEGORY_VOCABULARY = "category_id"
RARE_VOCABULARY = "rare_item_id"  # items of the catalogue without a row: id, BETWEEN_TOKENS, index of its category
CONTENT_VOCABULARY = "content"
PROFILE_VOCABULARY = "profile"
UNKNOWN = 0


def number_types(values: np.ndarray, event_types: Sequence[str]) -> np.ndarray:
    """Event types, bytes (object) [...] -> int64 [...]: 1 for the first known type, 0 for an unknown one."""
    number = {one.encode(): 1 + place for place, one in enumerate(event_types)}
    distinct, code = np.unique(values, return_inverse=True)
    return np.array([number.get(one, 0) for one in distinct], np.int64)[code]


def split_tokens(joined: bytes) -> list[bytes]:
    """The tokens that BETWEEN_TOKENS joins."""
    return joined.split(BETWEEN_TOKENS.encode()) if joined else []
