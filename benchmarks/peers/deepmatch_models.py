"""SDM, MIND and ComiRec of deepmatch, in deepmatch's environment.

A sample is a basket, drawn uniformly from all that have something before them: the newest events before it, and one of
its items as the target, against uniform negatives that a batch shares (deepmatch's sampled softmax, with logQ).

Tried on the validation split for one minute each, Recall@100 after 40, 80 and 120 steps: MIND with a rate of 1e-3 .165,
.193 and .194, 3e-3 .182, .181 and .179. ComiRec (1e-3) .164, .166 and .174, SDM (1e-3) .147 and .175.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from deepctr.feature_column import SparseFeat, VarLenSparseFeat
from deepmatch.models import MIND, SDM, ComiRec
from deepmatch.utils import NegativeSampler, sampledsoftmaxloss

from benchmarks.peers import program
from benchmarks.peers.exchange import Histories, Moments, Vectors

WIDTH = 64  # D
EVENTS = 100  # of a history
RECENT = 20  # of them, SDM's short-term session
INTERESTS = 4  # K of MIND and ComiRec
BATCH = 256
NEGATIVES = 16_384  # with 2,048, Adam leaves rare items on top, and Recall@100 falls from the second look on
EVERY = 120

_USERS_AT_ONCE = 256

Inputs = dict[str, np.ndarray]


class DeepMatchModel:
    """Implements `benchmarks.peers.program.PeerModel`.

    Args:
        histories: what to learn from.
        seed: of weights, samples and negatives.
        build: deepmatch's model of the histories.
        inputs: what it reads of events [B, S], newest first and 0 past the last, and of users [B].
        learning_rate: of Adam.
    """

    every = EVERY

    def __init__(self, histories: Histories, seed: int, build: Callable[[Histories], tf.keras.Model],
                 inputs: Callable[[Histories, np.ndarray, np.ndarray], Inputs], learning_rate: float):
        tf.keras.utils.set_random_seed(seed)
        self._histories, self._inputs, self._rng = histories, inputs, np.random.default_rng(seed)
        self._model = build(histories)
        self._model.compile(tf.keras.optimizers.legacy.Adam(learning_rate), loss=sampledsoftmaxloss)
        self._of_user = tf.keras.Model(self._model.user_input, self._model.user_embedding)
        self._of_item = tf.keras.Model(self._model.item_input, self._model.item_embedding)
        length = np.diff(histories.splits)
        self._owner = np.repeat(np.arange(len(length)), length)
        first = histories.splits[self._owner] + histories.basket_start
        self._basket, size = np.unique(first, return_counts=True)
        past = self._basket > histories.splits[self._owner[self._basket]]
        self._basket, self._size = self._basket[past], size[past]

    def step(self) -> float:
        """As `PeerModel`."""
        drawn = self._rng.integers(0, len(self._basket), BATCH)
        first = self._basket[drawn]
        target = self._histories.item[first + self._rng.integers(0, self._size[drawn])]
        user = self._owner[first]
        inputs = self._inputs(self._histories, self._newest(user, first), user) | {"item": target[:, None]}
        return float(self._model.train_on_batch(inputs, np.zeros([BATCH, 1])))

    def vectors(self, moments: Moments) -> Vectors:
        """As `PeerModel`."""
        events = self._newest(moments.user, self._histories.splits[moments.user + 1])
        interests = self._of_user.predict(self._inputs(self._histories, events, moments.user), _USERS_AT_ONCE)
        everything = np.arange(len(self._histories.item_category))[:, None]
        items = self._of_item.predict(everything, len(everything))  # the whole table is computed for each batch
        return Vectors(interests.reshape(len(events), -1, WIDTH), items)

    def weights(self) -> list[np.ndarray]:
        """As `PeerModel`."""
        return self._model.get_weights()

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """As `PeerModel`."""
        self._model.set_weights(weights)

    def _newest(self, user: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The items [n, S] of each user's newest events before the one at `end`, newest first."""
        place = end[:, None] - 1 - np.arange(EVENTS)
        begin = self._histories.splits[user][:, None]
        return np.where(place >= begin, self._histories.item[np.maximum(place, begin)], 0)


def _feature(name: str, values: int, table: str) -> SparseFeat:
    """An embedded feature. deepmatch's own initial deviation, 1e-4, leaves MIND where it is for hundreds of steps."""
    return SparseFeat(name, values, WIDTH, embedding_name=table,
                      embeddings_initializer=tf.keras.initializers.RandomNormal(stddev=0.05))


def _columns_of_items(histories: Histories) -> tuple[SparseFeat, NegativeSampler]:
    return (_feature("item", len(histories.item_category), "item"), NegativeSampler("uniform", NEGATIVES, "item"))


def _multi_interest(build: Callable[..., tf.keras.Model]) -> Callable[[Histories], tf.keras.Model]:
    """MIND or ComiRec: interests from the items, and the mean of their categories beside each of them."""
    def of(histories: Histories) -> tf.keras.Model:
        item, sampler = _columns_of_items(histories)
        categories = histories.item_category.max() + 1
        user = [VarLenSparseFeat(_feature("hist_item", item.vocabulary_size, "item"), EVENTS, "mean", "hist_len"),
                VarLenSparseFeat(_feature("hist_category", categories, "hist_category"), EVENTS, "mean", "hist_len")]
        return build(user, [item], k_max=INTERESTS, p=1, user_dnn_hidden_units=(2 * WIDTH, WIDTH),
                     sampler_config=sampler)
    return of


def _history_inputs(histories: Histories, events: np.ndarray, user: np.ndarray) -> Inputs:
    return {"hist_item": events, "hist_category": histories.item_category[events],
            "hist_len": np.count_nonzero(events, axis=1)[:, None]}


def _sdm(histories: Histories) -> tf.keras.Model:
    """SDM: the newest 20 events as the session, those before them as the long-term preference."""
    item, sampler = _columns_of_items(histories)
    sizes = {"item": item.vocabulary_size, "category": histories.item_category.max() + 1}
    user = [_feature("user", len(histories.splits) - 1, "user"),
            *(VarLenSparseFeat(_feature(f"{part}_{name}", size, name), length, "mean", f"{part}_sess_length")
              for part, length in (("prefer", EVENTS - RECENT), ("short", RECENT)) for name, size in sizes.items())]
    return SDM(user, [item], list(sizes), units=WIDTH, sampler_config=sampler)


def _session_inputs(histories: Histories, events: np.ndarray, user: np.ndarray) -> Inputs:
    parts = {"short": _in_time_order(events[:, :RECENT]), "prefer": _in_time_order(events[:, RECENT:])}
    return {"user": user[:, None]} | {
        f"{part}_{name}": values for part, items in parts.items() for name, values in (
            ("item", items), ("category", histories.item_category[items]),
            ("sess_length", np.count_nonzero(items, axis=1)[:, None]))}


def _in_time_order(events: np.ndarray) -> np.ndarray:
    """Events [B, S], newest first and padded at the end -> oldest first and padded at the end."""
    length = np.count_nonzero(events, axis=1)[:, None]
    place = length - 1 - np.arange(events.shape[1])
    return np.where(place >= 0, np.take_along_axis(events, np.maximum(place, 0), axis=1), 0)


if __name__ == "__main__":
    tf.compat.v1.disable_eager_execution()  # deepmatch builds graphs that TensorFlow 2's eager mode refuses
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    program.main({
        "SDM": lambda histories, seed: DeepMatchModel(histories, seed, _sdm, _session_inputs, 1e-3),
        "MIND": lambda histories, seed: DeepMatchModel(histories, seed, _multi_interest(MIND), _history_inputs, 1e-3),
        "ComiRec": lambda histories, seed: DeepMatchModel(
            histories, seed, _multi_interest(ComiRec), _history_inputs, 1e-3),
    }, ("deepmatch", "tensorflow", "tf-keras", "numpy"))
