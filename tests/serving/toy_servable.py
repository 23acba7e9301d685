"""A servable with the contract's signatures, whose answers can be worked out by hand, and three to provoke with."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf

REQUEST = (
    tf.TensorSpec([None, None], tf.string, "item_id"),
    tf.TensorSpec([None, None], tf.int64, "timestamp"),
    tf.TensorSpec([None], tf.int32, "length"),
    tf.TensorSpec([None], tf.int64, "now"),
)


class ToyServable(tf.Module):
    """Recommends the last event's item, then two that name the version; the score is a time."""

    def __init__(self, version: int):
        super().__init__()
        self._more = tf.constant([f"v{version}-b", f"v{version}-c"])
        # A table and a variable, so that loading has something to initialise and to restore.
        self._category = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(["milk", "bread"]), tf.constant(["dairy", "bakery"])), "?")
        self._step = tf.Variable([0.0, 0.5, 1.0])

    def save(self, directory: str) -> None:
        tf.saved_model.save(self, directory, signatures={
            "serving_default": self.recommend.get_concrete_function(),
            "predict_category": self.predict_category.get_concrete_function(),
            "pick": self.pick.get_concrete_function(),
            "spin": self.spin.get_concrete_function(),
            "total": self.total.get_concrete_function(),
        })

    @tf.function(input_signature=REQUEST)
    def recommend(self, item_id, timestamp, length, now):
        """Scores: the time of the last event, or `now`, less 0, 0.5 and 1. Count: length + 1, three at most."""
        batch = tf.shape(length)[0]
        padded_item = tf.concat([tf.fill([batch, 1], "none"), item_id], axis=1)
        padded_time = tf.concat([tf.zeros([batch, 1], tf.int64), timestamp], axis=1)
        last = tf.gather(padded_item, length, batch_dims=1)
        time = tf.where(now > 0, now, tf.gather(padded_time, length, batch_dims=1))
        count = tf.minimum(length + 1, 3)
        items = tf.concat([last[:, None], tf.tile(self._more[None], [batch, 1])], axis=1)
        items = tf.where(tf.sequence_mask(count, 3), items, "")
        return {
            "item_id": items,
            "score": tf.cast(time, tf.float32)[:, None] - self._step,
            "category_id": self._category.lookup(items),
            "channel": tf.tile([[0, 1, 2]], [batch, 1]),
            "count": count,
        }

    @tf.function(input_signature=REQUEST)
    def predict_category(self, item_id, timestamp, length, now):
        """Always the same two categories."""
        batch = tf.shape(length)[0]
        return {
            "category_id": tf.tile([["dairy", "bakery"]], [batch, 1]),
            "probability": tf.tile([[0.75, 0.25]], [batch, 1]),
            "copy_share": tf.tile([[0.5, 0.0]], [batch, 1]),
        }

    @tf.function(input_signature=(tf.TensorSpec([None], tf.int32, "place"),))
    def pick(self, place):
        """10, 20 or 30, for places 0, 1 and 2; the graph raises INVALID_ARGUMENT for any other."""
        return {"picked_bytes": tf.strings.as_string(tf.gather([10, 20, 30], place))}

    @tf.function(input_signature=(tf.TensorSpec([], tf.int64, "turns"),))
    def spin(self, turns):
        """Takes a while: counts to `turns` one by one."""
        return {"turned": tf.while_loop(lambda i: i < turns, lambda i: [i + 1], [tf.zeros([], tf.int64)])[0]}

    @tf.function(input_signature=(tf.TensorSpec([None], tf.float32, "value"), tf.TensorSpec([2], tf.bool, "flag")))
    def total(self, value, flag):
        """A sum, which has no batch, and the number of flags."""
        return {"sum": tf.reduce_sum(value), "flags": tf.reduce_sum(tf.cast(flag, tf.int32))}
