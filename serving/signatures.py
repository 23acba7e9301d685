"""The one owner of the servable's signatures: raw strings in, item ids out (names in `serving/contract.py`)."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable

import tensorflow as tf

from serving import contract
from serving.cascade import Cascade, Categories, Filters, User, choose, interests
from serving.explanation import explain
from serving.vocabulary import Numbering
from ulim_tf import features, history
from ulim_tf.model import LongInterests, UlimModel
from ulim_tf.retrieval.candidates import NO_ITEM
from ulim_tf.retrieval.merge import Ranked

_FAR = 2**61  # seconds: the time between two moments must not overflow


class Servable:
    """A trained model, its vocabularies and maybe what searches its items, as SavedModel signatures.

    Args:
        model: trained, with its catalogue set.
        cascade: of the same model; without one, the signatures are those that answer no items.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        profile_vocabulary: the same for the tokens of users' profiles; None if the model reads none.
        rare_vocabulary: as of `Numbering`.
        transform_graph: as of `Numbering`.
    """

    def __init__(self, model: UlimModel, cascade: Cascade | None, item_vocabulary: str, category_vocabulary: str,
                 profile_vocabulary: str | None, rare_vocabulary: str | None = None,
                 transform_graph: str | None = None):
        self._model, self._cascade = model, cascade
        self._numbering = Numbering(model.items, model.buckets, item_vocabulary, category_vocabulary,
                                    profile_vocabulary, rare_vocabulary, transform_graph)
        self._id_of_item = _Lines(item_vocabulary)
        self._id_of_category = _Lines(category_vocabulary)
        types = model.settings.features.event_types
        self._number_of_type = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(
            list(types), tf.range(1, len(types) + 1, dtype=tf.int64)), features.UNKNOWN) if types else None
        answers = {contract.SIGNATURE_PREDICT_CATEGORY: self.predict_category,
                   contract.SIGNATURE_ENCODE_USER: self.encode_user, contract.SIGNATURE_ENCODE_ITEM: self.encode_item}
        if cascade:
            answers |= {contract.SIGNATURE_RECOMMEND: self.recommend, contract.SIGNATURE_RETRIEVE: self.retrieve,
                        contract.SIGNATURE_EXPLAIN: self.explain}
        self._signatures = {name: tf.function(answer, autograph=False).get_concrete_function(**{
            alias: tf.TensorSpec([None] * len(of.axes), of.dtype, alias)
            for alias, of in contract.inputs(name, bool(types), model.settings.features.user_profile).items()})
            for name, answer in answers.items()}

    def save(self, directory: str) -> None:
        """Writes the SavedModel: the signatures and the variables, tables and index they read, nothing else."""
        held = tf.Module(name="servable")
        # The variables alone: a Keras model saved as such would bring its training graph along.
        held.weights, held.cascade = self._model.inference_variables, self._cascade
        held.tables = [table for table in (
            self._numbering, self._id_of_item, self._id_of_category, self._number_of_type) if table]
        tf.saved_model.save(held, directory, signatures=self._signatures)

    def recommend(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving_default` of the contract."""
        user = self._read(request)
        filters = Filters(user.sent if self._model.settings.retrieval.exclude_seen else None)
        return self._items(self._rank(user, filters)[0])

    def retrieve(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`retrieve` of the contract."""
        user = self._read(request)
        return self._items(self._rank(user, self._filters(request, user.sent))[0])

    def explain(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`explain` of the contract."""
        user = self._read(request)
        ranked, categories, long = self._rank(user, self._filters(request, user.sent))
        why = explain(user, categories, long, tf.gather(self._model.embedding.item_category, ranked.item),
                      request[contract.ITEM_ID], self._model.settings.history)
        return self._items(ranked) | {
            contract.COPIED: why.copied,
            contract.GENERATED: why.generated,
            contract.EVENT_ITEM_ID: why.item_id,
            contract.EVENT_TIMESTAMP: why.timestamp,
            contract.EVENT_WEIGHT: why.weight,
        }

    def predict_category(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predict_category` of the contract."""
        user = self._read(request)
        category, probability = self._choose(user)
        copied = tf.gather(user.prediction.copied, category, batch_dims=1)
        return {
            contract.CATEGORY_ID: self._id_of_category.lookup(category),
            contract.PROBABILITY: probability,
            contract.COPY_SHARE: tf.math.divide_no_nan(copied, probability),
        }

    def encode_user(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`encode_user` of the contract."""
        user = self._read(request)
        categories = self._choose(user)
        return {
            contract.INTEREST: user.short,
            contract.SHORT_VECTOR: self._model.short_vector(user.short),
            contract.CATEGORY_ID: self._id_of_category.lookup(categories.category),
            contract.PROBABILITY: categories.probability,
            contract.LONG_VECTOR: interests(self._model, user, categories).vector,
        }

    def encode_item(self, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """`encode_item` of the contract."""
        item = self._numbering.item(request[contract.ITEM_ID])
        known = (item != features.UNKNOWN) & (item <= self._model.items)  # a bucket is of no one item
        return {
            contract.VECTOR: tf.where(known[:, None], self._model.embedding.candidate(item), 0.0),
            contract.CATEGORY_ID: self._id_of_category.lookup(tf.gather(self._model.embedding.item_category, item)),
            contract.KNOWN: known,
        }

    def _read(self, request: dict[str, tf.Tensor]) -> User:
        config, length = self._model.settings, request[contract.LENGTH]
        item = self._numbering.history(request[contract.ITEM_ID])
        category = self._numbering.category_of_item(
            request[contract.ITEM_ID], item, self._model.embedding.item_category)
        types = (self._number_of_type.lookup(request[contract.EVENT_TYPE])
                 if self._number_of_type is not None else None)
        sent = tf.where(tf.sequence_mask(length, tf.shape(item)[1]), item, NO_ITEM)
        timestamp, now = (tf.clip_by_value(request[name], -_FAR, _FAR) for name in (contract.TIMESTAMP, contract.NOW))
        events = history.order_events(item, category, timestamp, length, now, config.history.long, types)
        rows = history.group_by_category(events)
        moments = history.describe(events, rows, config.history)
        if self._model.profile:
            tokens = [tf.strings.join([f"{column}=", request[contract.PROFILE + column]])
                      for column in config.features.user_profile]
            moments[history.PROFILE] = self._numbering.profile(tf.stack(tokens, axis=1))
        short = self._model.short_interest(moments)
        return User(sent, events, rows, short, self._model.predict_categories(short, moments))

    def _filters(self, request: dict[str, tf.Tensor], sent: tf.Tensor) -> Filters:
        def numbers(number_of: Callable[[tf.Tensor], tf.Tensor], alias: str, length: str) -> tf.Tensor:
            number = number_of(request[alias])
            return tf.where(tf.sequence_mask(request[length], tf.shape(number)[1]), number, NO_ITEM)

        config = self._model.settings.retrieval
        item = numbers(self._numbering.item, contract.EXCLUDE_ITEM_ID, contract.EXCLUDE_ITEM_ID_LENGTH)
        allow = numbers(self._numbering.category, contract.ALLOW_CATEGORY_ID, contract.ALLOW_CATEGORY_ID_LENGTH)
        deny = numbers(self._numbering.category, contract.DENY_CATEGORY_ID, contract.DENY_CATEGORY_ID_LENGTH)
        seen = request[contract.EXCLUDE_SEEN] | config.exclude_seen
        # A history is wide: where nobody's is excluded, nothing of it is looked at.
        sent = tf.where(seen[:, None], sent, NO_ITEM)[:, :tf.where(tf.reduce_any(seen), tf.shape(sent)[1], 0)]
        columns = self._model.categories + 1
        all_allowed = tf.reduce_all(allow == NO_ITEM, axis=1, keepdims=True)
        limit = request[contract.LIMIT]
        return Filters(tf.concat([sent, item], axis=1),
                       (_listed(allow, columns) | all_allowed) & ~_listed(deny, columns),
                       tf.where(limit > 0, limit, config.results))

    def _choose(self, user: User, allowed: tf.Tensor | None = None) -> Categories:
        return choose(user.prediction, min(self._model.settings.retrieval.categories, self._model.categories), allowed)

    def _rank(self, user: User, filters: Filters) -> tuple[Ranked, Categories, LongInterests]:
        categories = self._choose(user, filters.allowed)
        long = interests(self._model, user, categories)
        ranked = self._cascade.rank(  # type: ignore[union-attr]  # asked by signatures that are there with a cascade only
            user, categories, long, filters)
        return ranked, categories, long

    def _items(self, ranked: Ranked) -> dict[str, tf.Tensor]:
        return {
            contract.ITEM_ID: self._id_of_item.lookup(ranked.item),
            contract.SCORE: ranked.score,
            contract.CATEGORY_ID: self._id_of_category.lookup(
                tf.gather(self._model.embedding.item_category, ranked.item)),
            contract.CHANNEL: ranked.channel,
            contract.COUNT: ranked.count,
        }


def _listed(number: tf.Tensor, columns: int) -> tf.Tensor:
    """Which of 0..columns - 1 stand in each row: int64 [B, n] -> bool [B, columns]. NO_ITEM is none of them."""
    row = tf.broadcast_to(tf.range(tf.shape(number, tf.int64)[0])[:, None], tf.shape(number))
    place = tf.stack([row, tf.where(number != NO_ITEM, number, columns)], axis=-1)
    shape = tf.stack([tf.shape(number, tf.int64)[0], columns + 1])
    return tf.scatter_nd(place, tf.ones_like(number, tf.int32), shape)[:, :columns] > 0


class _Lines(tf.Module):
    """Line i of a text file, from 1; "" for 0."""

    def __init__(self, file: str):
        super().__init__()
        self._lines = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
            file, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE), "")

    def lookup(self, number: tf.Tensor) -> tf.Tensor:
        return self._lines.lookup(number - 1)
