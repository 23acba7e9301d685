"""Four users, whose examples and figures can be worked out by hand."""

from pathlib import Path

import tensorflow as tf

from ulim_tf import features

CATEGORY = {"milk": "dairy", "cheese": "dairy", "bread": "bakery", "soap": "care", "v1-b": "care", "v1-c": "toys"}

# user -> the items bought, oldest first, and the held-out basket. The servable answers the last item, v1-b, v1-c.
USERS = {
    "ann": (["bread", "milk", "milk"], ["milk", "v1-b", "soap"]),
    "bob": (["milk", "bread"], ["bread"]),
    "cid": (["milk"] * 120, ["cheese"]),
    "dan": (["soap", "milk"], []),
}


def write_examples(folder: Path) -> None:
    """All three splits, as the ingest writes them."""
    users = [(user, stored(items), basket) for user, (items, basket) in USERS.items()]
    write(folder / "Split-train", [{**events, features.USER_ID: [user]} for user, events, _ in users])
    write(folder / "Split-eval", [
        {**events, features.USER_ID: [user], features.TARGET_ITEM: basket, features.TARGET_TIMESTAMP: [10**9]}
        for user, events, basket in users if basket])
    write(folder / "Split-catalog", [
        {features.CATALOG_ITEM: list(CATEGORY), features.CATALOG_CATEGORY: list(CATEGORY.values())}])


def stored(items: list[str]) -> dict[str, list]:
    """The features of a user's events, oldest first."""
    order = sorted(range(len(items)), key=lambda place: CATEGORY[items[place]])  # category-major, as ingest stores them
    categories = [CATEGORY[items[place]] for place in order]
    distinct = sorted(set(categories))
    return {
        features.EVENT_ITEM: [items[place] for place in order],
        features.EVENT_TIMESTAMP: [10**8 + place for place in order],
        features.EVENT_RANK: order,
        features.CATEGORY: distinct,
        features.CATEGORY_LENGTH: [categories.count(one) for one in distinct],
    }


def write(folder: Path, examples: list[dict[str, list]]) -> None:
    """A split of examples, in a new folder."""
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer:
        for one in examples:
            example = tf.train.Example()
            for name in (*features.BYTES, *features.INTEGERS, features.PROFILE, features.EVENT_TYPE):
                values, feature = one.get(name, []), example.features.feature[name]
                if name in (*features.BYTES, features.PROFILE):
                    feature.bytes_list.value.extend(value.encode() for value in values)
                else:
                    feature.int64_list.value.extend(values)
            writer.write(example.SerializeToString())
