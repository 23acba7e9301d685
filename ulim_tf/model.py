"""ULIM as one Keras model: category-aware dual interests (CHDIL) and next-category prediction (PGIN)."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ulim_tf import config as settings
from ulim_tf import data, history, losses, scopes
from ulim_tf.layers.dnn import dnn, of_rows
from ulim_tf.layers.embeddings import BehaviourEmbedding
from ulim_tf.layers.item_pointer import ItemGate
from ulim_tf.layers.long_term import LongTermAttention
from ulim_tf.layers.pointer_generator import CategoryPrediction, PointerGenerator
from ulim_tf.layers.profile import UserProfile
from ulim_tf.layers.short_term import ShortTermEncoder
from ulim_tf.optimizers import LazyAdam
from ulim_tf.sampling import CategorySampler, draw_from_pool
from ulim_tf.steps import MomentModel, count_moments

_SMOOTHING_EVENTS = 20


class LongInterests(NamedTuple):
    """The long-term side of B users in K categories each, and the n events that were read for it."""

    vector: tf.Tensor  # v_l and a 1 for the items' bias, [B, K, D + 1], searched inside its category
    gate: tf.Tensor  # g, [B, K], the probability that an item is copied; 0 without the item pointer
    item: tf.Tensor  # int64 [n], the events of all B * K subsequences, one after the other
    attention: tf.Tensor  # a, [n], sums to 1 over each subsequence
    owner: tf.Tensor  # int64 [n], ascending, which of the B * K subsequences each event is of

    def copied(self, wanted: tf.Tensor) -> tf.Tensor:
        """copy(i|c) of one wanted item for each category: int64 [B, K] -> float32 [B, K]."""
        match = self.item == tf.gather(tf.reshape(wanted, [-1]), self.owner)
        mass = tf.math.unsorted_segment_sum(tf.where(match, self.attention, 0.0), self.owner, tf.size(wanted))
        return tf.reshape(mass, tf.shape(wanted))


@keras.saving.register_keras_serializable("ulim_tf")
class UlimModel(MomentModel):
    """User Long-Term Multi-Interest Retrieval Model (arXiv 2507.10097).

    Items and categories are indices 1..V and 1..C by falling frequency; 0 is the unknown one, and V + 1..V + O are
    buckets that items without a row of their own share. `call` takes the tensors of `ulim_tf/history.py`, `fit` batches
    of `data.training_dataset`.

    Args:
        config: all settings, a `UlimConfig` or the mapping `to_dict` makes of one. Unless `model.item_vectors` is
            learned, `set_item_vectors` is to be called before training: until then they are where chance put them.
            O is `vocabulary.oov_buckets`.
        items: V.
        categories: C.
        content: A, known content tokens of items; 0 for a catalogue without content.
        tokens: P, most tokens an item has.
        profile: known tokens of users' profiles; 0 for users without.
    """

    built: bool  # of the base class

    def __init__(self, config: settings.UlimConfig | dict[str, Any], items: int, categories: int, content: int = 0,
                 tokens: int = 0, profile: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(config, settings.UlimConfig):
            config = settings.from_dict(settings.UlimConfig, config)
        self.settings, self.items, self.categories, self.content, self.tokens, self.profile = (
            config, items, categories, content, tokens, profile)
        self.buckets = config.vocabulary.oov_buckets
        width, hidden = config.model.width, config.model.hidden
        self.embedding = BehaviourEmbedding(items, categories, width, content, tokens,
                                            len(config.features.event_types),
                                            config.model.item_vectors == "fixed", self.buckets, name="embedding")
        self.short_term = ShortTermEncoder(width, config.model.heads, config.model.short_term_attention,
                                           name="short_term")
        self.user_profile = UserProfile(profile, width, name="user_profile") if profile else None
        self.long_term = LongTermAttention(width, name="long_term")
        self.item_gate = ItemGate(hidden, name="item_gate") if config.model.item_pointer else None
        self.pointer_generator = PointerGenerator(categories, width, hidden, config.model.category_pointer,
                                                  config.model.category_generator, name="pointer_generator")
        self.long_tower = dnn("long_tower", hidden, width)
        self.short_tower = dnn("short_tower", hidden, width)
        self.sampler = CategorySampler(items, categories, name="sampler")
        self.build(tf.TensorShape([]))
        self.loss_parts = {name: keras.metrics.Mean(f"{name}_loss") for name in ("long", "short", "category")}

    def build(self, _: tf.TensorShape) -> None:
        """Creates every variable, so that a model is whole before it has seen data."""
        if self.built:
            return
        row = {name: tf.ones([1, 1], tf.int64) for name in (
            history.SHORT_ITEM, history.SHORT_CATEGORY, history.SHORT_AGE, history.CATEGORY, history.CATEGORY_COUNT,
            history.CATEGORY_AGE, history.CATEGORY_SPAN, history.SUBSEQUENCE_LENGTH)}
        names = [history.SUBSEQUENCE_ITEM, history.SUBSEQUENCE_AGE]
        if self.settings.features.event_types:
            row[history.SHORT_TYPE] = row[history.SHORT_ITEM]
            names.append(history.SUBSEQUENCE_TYPE)
        if self.profile:
            row[history.PROFILE] = row[history.SHORT_ITEM]
        subsequence = {name: tf.ones([1, 1, 1], tf.int64) for name in names}
        self.sampler.build(None)
        # What `follow_popularity` added to the biases, so that following again does not add to it.
        self.popularity_shift = self.add_weight("popularity_shift", [1 + self.items + self.buckets],
                                                initializer="zeros", trainable=False)
        self.built = True
        self.call({**row, history.SHORT_LENGTH: tf.ones([1], tf.int64)})
        self.long_interests(tf.zeros([1, self.settings.model.width]), row[history.CATEGORY], {**row, **subsequence})

    def set_catalog(self, item_category: np.ndarray, item_content: np.ndarray | None = None) -> None:
        """Tells the model which category each item is in.

        Args:
            item_category: int64 [V + 1]; entry 0, the unknown item, is in category 0.
            item_content: int64 [V + 1, P], the content tokens 1..A of each item, then 0; None without content.

        Raises:
            ValueError: wrong shape, a category outside 1..C, or a token outside 0..A.
        """
        if item_category.shape != (self.items + 1,):
            raise ValueError(f"item_category must have shape [V + 1] = ({self.items + 1},), got {item_category.shape}. "
                             "Give one category for each item of the vocabulary, after a 0 for the unknown item.")
        known = item_category[1:]
        if item_category[0] != 0 or known.min() < 1 or known.max() > self.categories:
            raise ValueError(f"item_category must be 0 at index 0 and in 1..C = 1..{self.categories} after it, got "
                             f"{item_category[0]} and {known.min()}..{known.max()}. Is an item's category missing from "
                             "the category vocabulary?")
        shape = (self.items + 1, self.tokens) if self.content else None
        given = None if item_content is None else item_content.shape
        if given != shape:
            raise ValueError(f"item_content must have shape [V + 1, P] = {shape} (None without content), got {given}. "
                             "Build the model with the content and tokens of the catalogue.")
        if item_content is not None:
            if item_content.min() < 0 or item_content.max() > self.content:
                raise ValueError(f"item_content must be in 0..A = 0..{self.content}, got {item_content.min()}.."
                                 f"{item_content.max()}. Number the tokens from 1; 0 is for none.")
            self.embedding.item_content.assign(np.pad(item_content, [(0, self.buckets), (0, 0)]))
        self.embedding.item_category.assign(np.pad(item_category, (0, self.buckets)))
        self.sampler.set_catalog(item_category)

    def set_item_vectors(self, vectors: np.ndarray) -> None:
        """Puts the items' own part of their vectors where `co_purchase.item_vectors` says [I].

        Args:
            vectors: float32 [V + O + 1, D].

        Raises:
            ValueError: wrong shape.
        """
        if vectors.shape != self.embedding.item_table.shape:
            raise ValueError(f"vectors must have shape [V + O + 1, D] = {list(self.embedding.item_table.shape)}, got "
                             f"{list(vectors.shape)}. Make them for the model's vocabulary and width.")
        self.embedding.item_table.assign(vectors)

    def set_popularity(self, events: np.ndarray) -> None:
        """Starts each item's bias from how often it was bought, so that training begins at popularity [I].

        Args:
            events: int [V + O + 1], training events of each item.
        """
        self.embedding.bias_table.assign(np.log1p(events).astype(np.float32))

    def follow_popularity(self, events: np.ndarray, recent: np.ndarray) -> None:
        """Moves each item's bias from its popularity over the whole log to that of late, after training [I].

        The log-ratio of the two shares, each smoothed by some events: what is no longer sold fades, what is new rises.
        What an earlier call added, before training went on, is taken back.

        Args:
            events: int [V + O + 1], training events of each item.
            recent: int [V + O + 1], those of late among them.
        """
        if not recent.any():
            return
        of_late = recent * (events.sum() / recent.sum())
        shift = np.log((of_late + _SMOOTHING_EVENTS) / (events + _SMOOTHING_EVENTS)).astype(np.float32)
        self.embedding.bias_table.assign_add(shift - self.popularity_shift)
        self.popularity_shift.assign(shift)

    def with_catalog(self, item_category: np.ndarray, item_content: np.ndarray | None = None) -> "UlimModel":
        """This model with another catalogue and V' >= V items, of which the first V keep their rows, as the buckets do.

        A further item has no row of its own, so that its vector is its category's and its content's, and a bias as of
        `biases`.

        Args:
            item_category: int64 [V' + 1], as of `set_catalog`.
            item_content: int64 [V' + 1, P'], as of `set_catalog`; None without content.

        Returns:
            a model to answer with; of what training needs, it has the catalogue alone.

        Raises:
            ValueError: as `set_catalog`, or V' < V.
        """
        more = len(item_category) - 1 - self.items
        if more < 0:
            raise ValueError(f"item_category must have at least V + 1 = {self.items + 1} entries, got "
                             f"{len(item_category)}. Keep the items that the model knows; number new ones after them.")
        other = UlimModel(self.settings, self.items + more, self.categories, self.content,
                          item_content.shape[1] if self.content and item_content is not None else self.tokens,
                          self.profile)
        other.set_catalog(item_category, item_content)
        catalog = (other.embedding.item_category, other.embedding.item_content if self.content else None)
        for mine, its in zip(self.inference_variables, other.inference_variables):
            if its.shape == mine.shape and not any(its is one for one in catalog):
                its.assign(mine)
        other.embedding.item_table.assign(np.insert(
            self.embedding.item_table.numpy(), [self.items + 1] * more, 0.0, axis=0))
        other.embedding.bias_table.assign(self.biases(item_category))
        return other

    def biases(self, item_category: np.ndarray) -> np.ndarray:
        """Biases in another catalogue: int64 [V' + 1] -> float32 [V' + O + 1].

        An item after V has the smallest one of its category: where training leaves what nobody bought. In a category
        without items it has the smallest of all [I].
        """
        bias, least = self.embedding.bias_table.numpy(), np.full(self.categories + 1, np.inf, np.float32)
        own = slice(1, self.items + 1)
        np.minimum.at(least, self.embedding.item_category.numpy()[own], bias[own])
        least = np.where(np.isfinite(least), least, bias[own].min())
        return np.insert(bias, self.items + 1, least[item_category[self.items + 1:]])

    @property
    def inference_variables(self) -> list[tf.Variable]:
        """What answering needs: all variables but those of sampling and of metrics."""
        layers = (self.embedding, self.short_term, self.user_profile, self.long_term, self.item_gate,
                  self.pointer_generator, self.long_tower, self.short_tower)
        return [variable for layer in layers if layer for variable in layer.variables]

    @scopes.part(scopes.ENCODER)
    def short_interest(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """q, what the newest behaviours say, and the user's profile: [B, D]."""
        behaviour = self.embedding(moments[history.SHORT_ITEM], moments[history.SHORT_CATEGORY],
                                   moments[history.SHORT_AGE], moments.get(history.SHORT_TYPE))
        short = self.short_term(behaviour, moments[history.SHORT_LENGTH])
        return short + self.user_profile(moments[history.PROFILE]) if self.user_profile else short

    @scopes.part(scopes.ENCODER)
    def short_vector(self, short: tf.Tensor) -> tf.Tensor:
        """v_s of q and a 1 for the items' bias, searched in the whole pool: [B, D] -> [B, D + 1]."""
        return _with_one(self.short_tower(short))

    @scopes.part(scopes.PGIN)
    def predict_categories(self, short: tf.Tensor, moments: dict[str, tf.Tensor]) -> CategoryPrediction:
        """PGIN: the next categories, [B, C + 1]."""
        category, age = moments[history.CATEGORY], moments[history.CATEGORY_AGE]
        return self.pointer_generator(
            short, category, self.embedding.category(category), self.embedding.recency(age),
            moments[history.CATEGORY_COUNT], age, moments[history.CATEGORY_SPAN])

    @scopes.part(scopes.ENCODER)
    def long_interests(self, short: tf.Tensor, category: tf.Tensor,
                       subsequences: dict[str, tf.Tensor]) -> LongInterests:
        """What the subsequences of K categories say.

        Args:
            short: q, [B, D].
            category: int64 [B, K].
            subsequences: the tensors of `history.subsequences`.
        """
        length = subsequences[history.SUBSEQUENCE_LENGTH]
        item, age = subsequences[history.SUBSEQUENCE_ITEM], subsequences[history.SUBSEQUENCE_AGE]
        most = tf.shape(item, tf.int64)[2]
        real = tf.where(tf.reshape(tf.range(most) < length[:, :, None], [-1]))[:, 0]
        owner = real // most
        event_type = subsequences.get(history.SUBSEQUENCE_TYPE)
        item, age, event_type = (None if values is None else tf.gather(tf.reshape(values, [-1]), real)
                                 for values in (item, age, event_type))
        behaviour = self.embedding(item, tf.gather(tf.reshape(category, [-1]), owner), age, event_type)
        category = self.embedding.category(category)
        short = tf.broadcast_to(short[:, None, :], tf.shape(category))
        query = short
        if self.settings.model.long_term_query == "subsequence":
            query = tf.reshape(tf.math.unsorted_segment_mean(behaviour, owner, tf.size(length)), tf.shape(category))
        interest, attention = self.long_term(
            query, category, behaviour, owner, self.embedding.recency_bias(age), length)
        return LongInterests(
            vector=_with_one(of_rows(self.long_tower, tf.concat([interest, short, category], axis=-1))),
            gate=self.item_gate(interest, short, category, length) if self.item_gate
            else tf.zeros_like(interest[..., 0]),
            item=item, attention=attention, owner=owner)

    def call(self, moments: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The short-term vector [B, D] and the next-category probabilities [B, C + 1] of moments."""
        short = self.short_interest(moments)
        prediction = self.predict_categories(short, moments)
        return {"short_vector": self.short_vector(short), "probability": prediction.probability,
                "copied": prediction.copied}

    @tf.autograph.experimental.do_not_convert  # no Python control flow depends on a tensor; converting takes 20 s
    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """L = alpha * L_long + beta * L_short + gamma * L_cat over the real targets of a batch (scalar)."""
        weights, real = self.settings.loss, features[data.TARGET_REAL]
        owner = tf.where(real)[:, 0]  # the moment of each of n real targets
        target = tf.boolean_mask(features[data.TARGET_ITEM], real)
        category = tf.gather(self.embedding.item_category, target)
        short = self.short_interest(features)
        long = self.long_interests(tf.gather(short, owner), category[:, None], {
            name: tf.boolean_mask(features[name], real)[:, None] for name in (
                history.SUBSEQUENCE_ITEM, history.SUBSEQUENCE_AGE, history.SUBSEQUENCE_TYPE,
                history.SUBSEQUENCE_LENGTH) if name in features})

        def generated(vector: tf.Tensor, negatives: str) -> tf.Tensor:
            if negatives == "whole_pool":
                return self._whole_pool_nll(vector, target)
            return self._in_category_nll(vector, target, category, shared=negatives == "in_category")

        parts = {
            "long": losses.copy_or_generate(long.gate[:, 0], long.copied(target[:, None])[:, 0],
                                            generated(long.vector[:, 0], weights.long_negatives)),
            "short": generated(tf.gather(self.short_vector(short), owner), weights.short_negatives),
            "category": losses.category_nll(self.predict_categories(short, features).probability, owner, category),
        }
        moments = tf.shape(real, out_type=tf.int64)[0]
        parts = {name: losses.mean_of_moments(part, owner, moments) for name, part in parts.items()}
        for name, part in parts.items():
            self.loss_parts[name].update_state(part, count_moments(features))
        return weights.alpha * parts["long"] + weights.beta * parts["short"] + weights.gamma * parts["category"]

    def _whole_pool_nll(self, vector: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """-log of each target's share of all items: [n, D + 1] and int64 [n] -> [n]."""
        weights = self.settings.loss
        pool, log_expected = draw_from_pool(self.items, weights.pool_negatives)
        negative = tf.matmul(vector, self.embedding.candidate(pool), transpose_b=True)
        positive = tf.reduce_sum(vector * self.embedding.candidate(target), axis=-1)
        return losses.sampled_softmax(positive / weights.temperature, negative / weights.temperature, log_expected,
                                      pool == target[:, None])

    def _in_category_nll(self, vector: tf.Tensor, target: tf.Tensor, category: tf.Tensor, shared: bool) -> tf.Tensor:
        """-log of each target's share of its category's items.

        Args:
            vector: [n, D + 1].
            target: int64 [n].
            category: int64 [n].
            shared: whether the targets of a category share their negatives (then each is gathered once).

        Returns:
            float32 [n].
        """
        weights = self.settings.loss
        drawn_for, group = tf.unique(category) if shared else (category, tf.range(tf.size(category)))
        item, drawn, log_expected = self.sampler.draw(drawn_for, weights.category_negatives)
        order = tf.argsort(group, stable=True)
        vector, target, group = (tf.gather(values, order) for values in (vector, target, group))
        size = tf.math.bincount(group, minlength=tf.size(drawn_for))
        first = tf.cumsum(size, exclusive=True)
        place = tf.stack([group, tf.range(tf.size(group)) - tf.gather(first, group)], axis=1)
        # One matrix product a group, padded to the largest: far cheaper than gathering negatives for each target.
        grouped = tf.scatter_nd(place, vector, [tf.size(drawn_for), tf.reduce_max(size), vector.shape[1]])
        negative = tf.matmul(grouped, self.embedding.in_category(item), transpose_b=True)
        negative = tf.where(drawn[:, None], negative, negative.dtype.min)
        positive = tf.reduce_sum(vector * self.embedding.in_category(target), axis=-1)
        nll = losses.sampled_softmax(
            positive / weights.temperature, tf.gather_nd(negative, place) / weights.temperature,
            tf.gather(log_expected, group)[:, None], tf.gather(item, group) == target[:, None])
        return tf.gather(nll, tf.math.invert_permutation(order))

    def compile(self, optimizer: keras.optimizers.Optimizer | str | None = None, **kwargs) -> None:
        """As Keras; without an optimizer, `LazyAdam` with a rate that falls to 0 at the last of `training.steps`.

        Raises:
            ValueError: `jit_compile` is asked for.
        """
        if kwargs.get("jit_compile"):
            raise ValueError("jit_compile must be False or None, got True: XLA has no kernel that draws negatives from "
                             "the pool, and cannot group targets by category (DenseBincount). Leave it out.")
        training = self.settings.training
        super().compile(optimizer=optimizer or LazyAdam(keras.optimizers.schedules.PolynomialDecay(
            training.learning_rate, training.steps, end_learning_rate=0.0)), **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        # Named here because Keras wants a model that overrides `compile` to override this one and the next too.
        return super().get_compile_config()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was, with the optimizer's variables there to be restored."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {"config": settings.to_dict(self.settings), "items": self.items, "categories": self.categories,
                "content": self.content, "tokens": self.tokens, "profile": self.profile}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UlimModel":
        return cls(**config)


def _with_one(vector: tf.Tensor) -> tf.Tensor:
    return tf.concat([vector, tf.ones_like(vector[..., :1])], axis=-1)
