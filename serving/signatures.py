"""The one owner of the servable's signatures: raw strings in, item ids out (names in `serving/contract.py`)."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract
from ulim_tf import features, history
from ulim_tf.model import UlimModel
from ulim_tf.retrieval.backfill import Backfill
from ulim_tf.retrieval.candidates import NO_ITEM
from ulim_tf.retrieval.index import CategoryIndex
from ulim_tf.retrieval.merge import merge
from ulim_tf.retrieval.normalizer import CategoryNormalizer

_REQUEST = (
    tf.TensorSpec([None, None], tf.string, contract.ITEM_ID),
    tf.TensorSpec([None, None], tf.int64, contract.TIMESTAMP),
    tf.TensorSpec([None], tf.int32, contract.LENGTH),
    tf.TensorSpec([None], tf.int64, contract.NOW),
)
_TYPES = tf.TensorSpec([None, None], tf.string, contract.EVENT_TYPE)


class _User(NamedTuple):
    """What every signature needs of a request."""

    sent: tf.Tensor  # int64 [B, L], every item of the request, however old; NO_ITEM in padding
    events: history.Events
    rows: history.CategoryRows
    short: tf.Tensor  # q, [B, D]
    category: tf.Tensor  # int64 [B, K], most probable first
    probability: tf.Tensor  # [B, K]
    copied: tf.Tensor  # [B, K]


class Servable:
    """A trained model, its index and its vocabularies, as SavedModel signatures.

    Args:
        model: trained, with its catalogue set.
        index: over the candidates' vectors.
        normalizer: over the same vectors.
        candidates: int64 [n], ascending, the items that may be answered; what else the model knows is read in histories
            only.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        profile_vocabulary: the same for the tokens of users' profiles; None if the model reads none.
    """

    def __init__(self, model: UlimModel, index: CategoryIndex, normalizer: CategoryNormalizer,
                 candidates: np.ndarray, item_vocabulary: str, category_vocabulary: str,
                 profile_vocabulary: str | None):
        self._model, self._index, self._normalizer = model, index, normalizer
        self._backfill = Backfill(candidates, model.embedding.item_category, model.settings.retrieval.category_cap)
        self._item_of_id = _number_of_line(item_vocabulary)
        self._id_of_item = _Lines(item_vocabulary)
        self._id_of_category = _Lines(category_vocabulary)
        self._token_of_profile = _number_of_line(profile_vocabulary) if profile_vocabulary else None
        types = model.settings.features.event_types
        request = [*_REQUEST, *([_TYPES] if types else []), *(
            tf.TensorSpec([None], tf.string, contract.PROFILE + column)
            for column in model.settings.features.user_profile)]
        self._number_of_type = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(
            list(types), tf.range(1, len(types) + 1, dtype=tf.int64)), features.UNKNOWN) if types else None
        self._recommend, self._predict_category = (
            tf.function(answer, autograph=False).get_concrete_function(**{spec.name: spec for spec in request})
            for answer in (self.recommend, self.predict_category))

    def save(self, directory: str) -> None:
        """Writes the SavedModel: the signatures and the variables, tables and index they read, nothing else."""
        held = tf.Module(name="servable")
        # The variables alone: a Keras model saved as such would bring its training graph along.
        held.weights = self._model.inference_variables
        held.index, held.normalizer, held.backfill = self._index, self._normalizer, self._backfill
        held.tables = [table for table in (self._item_of_id, self._id_of_item, self._id_of_category,
                                           self._number_of_type, self._token_of_profile) if table]
        tf.saved_model.save(held, directory, signatures={
            contract.SIGNATURE_RECOMMEND: self._recommend,
            contract.SIGNATURE_PREDICT_CATEGORY: self._predict_category,
        })

    def recommend(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving_default` of the contract."""
        user = self._read(request)
        config = self._model.settings
        subsequences = history.subsequences(user.events, user.rows, user.category, config.history)
        long = self._model.long_interests(user.short, user.category, subsequences)
        k = min(config.retrieval.per_category, self._index.items)
        vector, category = tf.reshape(long.vector, [-1, config.model.width + 1]), tf.reshape(user.category, [-1])
        item, score = self._index.search(vector, category, k)
        log_sum = self._normalizer.log_sum(vector, category, score)  # of all items, whatever may be answered
        excluded = None
        if config.retrieval.exclude_seen:
            excluded = user.sent
            item, score = self._index.search(vector, category, k, excluded)
        by_category = tf.concat([tf.shape(user.category), [k]], axis=0)
        short_item, short_score = self._index.search_all(self._model.short_vector(user.short),
                                                         min(config.retrieval.short_term, self._index.items))
        copied_item = tf.where(self._index.holds(long.item), long.item, NO_ITEM)  # no longer there: no copy
        copied = tf.reshape(user.probability * long.gate, [-1])
        ranked = merge(
            rule=config.retrieval.merge, quota_exponent=config.retrieval.quota_exponent, probability=user.probability,
            copied_item=_by_user(copied_item, long.owner, user.category, NO_ITEM),
            copied_probability=_by_user(tf.gather(copied, long.owner) * long.attention, long.owner, user.category, 0.0),
            copied_column=_by_user(long.owner % tf.shape(user.category, tf.int64)[1], long.owner, user.category, 0),
            long_item=tf.reshape(item, by_category), long_score=tf.reshape(score, by_category),
            long_log_sum=tf.reshape(log_sum, tf.shape(user.category)),
            generated_probability=user.probability * (1.0 - long.gate), short_item=short_item, short_score=short_score,
            short_share=config.retrieval.short_share, temperature=config.loss.temperature,
            item_category=self._model.embedding.item_category,
            backfill=self._backfill.candidates(config.retrieval.results, excluded), results=config.retrieval.results,
            category_cap=config.retrieval.category_cap, diversity=config.retrieval.diversity, excluded=excluded)
        return {
            contract.ITEM_ID: self._id_of_item.lookup(ranked.item),
            contract.SCORE: ranked.score,
            contract.CATEGORY_ID: self._id_of_category.lookup(
                tf.gather(self._model.embedding.item_category, ranked.item)),
            contract.CHANNEL: ranked.channel,
            contract.COUNT: ranked.count,
        }

    def predict_category(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predict_category` of the contract."""
        user = self._read(request)
        return {
            contract.CATEGORY_ID: self._id_of_category.lookup(user.category),
            contract.PROBABILITY: user.probability,
            contract.COPY_SHARE: tf.math.divide_no_nan(user.copied, user.probability),
        }

    def _read(self, request: dict[str, tf.Tensor]) -> _User:
        config, length = self._model.settings, request[contract.LENGTH]
        item = self._item_of_id.lookup(request[contract.ITEM_ID]) + 1
        types = (self._number_of_type.lookup(request[contract.EVENT_TYPE])
                 if contract.EVENT_TYPE in request else None)
        sent = tf.where(tf.sequence_mask(length, tf.shape(item)[1]), item, NO_ITEM)
        events = history.order_events(item, request[contract.TIMESTAMP], length, request[contract.NOW],
                                      config.history.long, types)
        rows = history.group_by_category(events, self._model.embedding.item_category)
        moments = history.describe(events, rows, config.history)
        if self._token_of_profile:
            tokens = [tf.strings.join([f"{column}=", request[contract.PROFILE + column]])
                      for column in config.features.user_profile]
            moments[history.PROFILE] = self._token_of_profile.lookup(tf.stack(tokens, axis=1)) + 1
        short = self._model.short_interest(moments)
        prediction = self._model.predict_categories(short, moments)
        # The unknown category, index 0, is not among those to choose from.
        known = prediction.probability[:, 1:]
        probability, place = tf.math.top_k(known, min(config.retrieval.categories, self._model.categories))
        category = tf.cast(place, tf.int64) + 1
        return _User(sent, events, rows, short, category, probability,
                     tf.gather(prediction.copied, category, batch_dims=1))


def _by_user(values: tf.Tensor, owner: tf.Tensor, category: tf.Tensor, padding: float) -> tf.Tensor:
    """Values [n] of the events of B * K subsequences -> [B, n'], each user's in a row."""
    # By hand: a RaggedTensor of row ids takes a hundred ops, and is checked anew in every request.
    users, categories = tf.unstack(tf.shape(category, out_type=tf.int64))
    edge = tf.raw_ops.LowerBound(sorted_inputs=owner[None, :], values=(tf.range(users + 1) * categories)[None, :],
                                 out_type=tf.int64)[0]
    start, end = edge[:-1, None], edge[1:, None]
    place = start + tf.range(tf.reduce_max(end - start))[None, :]
    return tf.gather(tf.pad(values, [[0, 1]], constant_values=padding), tf.where(place < end, place, edge[-1]))


def _number_of_line(file: str) -> tf.lookup.StaticHashTable:
    return tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
        file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), -1)


class _Lines(tf.Module):
    """Line i of a text file, from 1; "" for 0."""

    def __init__(self, file: str):
        super().__init__()
        self._lines = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
            file, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE), "")

    def lookup(self, number: tf.Tensor) -> tf.Tensor:
        return self._lines.lookup(number - 1)
