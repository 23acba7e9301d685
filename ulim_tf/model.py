"""ULIM as one Keras model: category-aware dual interests (CHDIL) and next-category prediction (PGIN)."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ulim_tf import config as settings
from ulim_tf import data, history, losses
from ulim_tf.layers.dnn import dnn
from ulim_tf.layers.embeddings import BehaviourEmbedding
from ulim_tf.layers.item_pointer import ItemGate
from ulim_tf.layers.long_term import LongTermAttention
from ulim_tf.layers.pointer_generator import CategoryPrediction, PointerGenerator
from ulim_tf.layers.short_term import ShortTermEncoder
from ulim_tf.optimizers import LazyAdam
from ulim_tf.sampling import CategorySampler, draw_from_pool
from ulim_tf.steps import MomentModel, count_moments


class LongInterests(NamedTuple):
    """The long-term side of B users in K categories each, and the n events that were read for it."""

    vector: tf.Tensor  # v_l, [B, K, D], searched inside its category
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

    Items and categories are indices 1..V and 1..C by falling frequency; 0 is the unknown one. `call` takes the tensors
    of `ulim_tf/history.py`, `fit` batches of `data.training_dataset`.

    Args:
        config: all settings, a `UlimConfig` or the mapping `to_dict` makes of one.
        items: V.
        categories: C.
    """

    def __init__(self, config: settings.UlimConfig | dict[str, Any], items: int, categories: int, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(config, settings.UlimConfig):
            config = settings.from_dict(settings.UlimConfig, config)
        self.settings, self.items, self.categories = config, items, categories
        width, hidden = config.model.width, config.model.hidden
        self.embedding = BehaviourEmbedding(items, categories, width, name="embedding")
        self.short_term = ShortTermEncoder(width, config.model.heads, name="short_term")
        self.long_term = LongTermAttention(width, name="long_term")
        self.item_gate = ItemGate(hidden, name="item_gate")
        self.pointer_generator = PointerGenerator(categories, width, hidden, name="pointer_generator")
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
            history.SHORT_ITEM, history.SHORT_AGE, history.CATEGORY, history.CATEGORY_COUNT, history.CATEGORY_AGE,
            history.CATEGORY_SPAN, history.SUBSEQUENCE_LENGTH)}
        subsequence = {name: tf.ones([1, 1, 1], tf.int64) for name in (
            history.SUBSEQUENCE_ITEM, history.SUBSEQUENCE_AGE)}
        self.sampler.build(None)
        self.built = True
        self.call({**row, history.SHORT_LENGTH: tf.ones([1], tf.int64)})
        self.long_interests(tf.zeros([1, self.settings.model.width]), row[history.CATEGORY], {**row, **subsequence})

    def set_catalog(self, item_category: np.ndarray) -> None:
        """Tells the model which category each item is in.

        Args:
            item_category: int64 [V + 1]; entry 0, the unknown item, is in category 0.

        Raises:
            ValueError: wrong shape, or a category outside 1..C.
        """
        if item_category.shape != (self.items + 1,):
            raise ValueError(f"item_category must have shape [V + 1] = ({self.items + 1},), got {item_category.shape}. "
                             "Give one category for each item of the vocabulary, after a 0 for the unknown item.")
        known = item_category[1:]
        if item_category[0] != 0 or known.min() < 1 or known.max() > self.categories:
            raise ValueError(f"item_category must be 0 at index 0 and in 1..C = 1..{self.categories} after it, got "
                             f"{item_category[0]} and {known.min()}..{known.max()}. Is an item's category missing from "
                             "the category vocabulary?")
        self.embedding.item_category.assign(item_category)
        self.sampler.set_catalog(item_category)

    @property
    def inference_variables(self) -> list[tf.Variable]:
        """What answering needs: all variables but those of sampling and of metrics."""
        layers = (self.embedding, self.short_term, self.long_term, self.item_gate, self.pointer_generator,
                  self.long_tower, self.short_tower)
        return [variable for layer in layers for variable in layer.variables]

    def short_interest(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """q, what the newest behaviours say: [B, D]."""
        behaviour = self.embedding(moments[history.SHORT_ITEM], moments[history.SHORT_AGE])
        return self.short_term(behaviour, moments[history.SHORT_LENGTH])

    def short_vector(self, short: tf.Tensor) -> tf.Tensor:
        """v_s of q, searched in the whole pool: [B, D] -> [B, D]."""
        return self.short_tower(short)

    def predict_categories(self, short: tf.Tensor, moments: dict[str, tf.Tensor]) -> CategoryPrediction:
        """PGIN: the next categories, [B, C + 1]."""
        category, age = moments[history.CATEGORY], moments[history.CATEGORY_AGE]
        return self.pointer_generator(
            short, category, self.embedding.category(category), self.embedding.recency(age),
            moments[history.CATEGORY_COUNT], age, moments[history.CATEGORY_SPAN])

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
        real = tf.sequence_mask(length, tf.shape(item)[2])
        owner = tf.where(tf.reshape(real, [-1, tf.shape(item)[2]]))[:, 0]
        item, age = tf.boolean_mask(item, real), tf.boolean_mask(age, real)
        category = self.embedding.category(category)
        interest, attention = self.long_term(
            short, category, self.embedding(item, age), owner, self.embedding.recency_bias(age), length)
        short = tf.broadcast_to(short[:, None, :], tf.shape(category))
        return LongInterests(
            vector=self.long_tower(tf.concat([interest, short, category], axis=-1)),
            gate=self.item_gate(interest, short, category, length) if self.settings.model.item_pointer
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
        weights = self.settings.loss
        target, real = features[data.TARGET_ITEM], features[data.TARGET_REAL]
        category = tf.gather(self.embedding.item_category, target)
        short = self.short_interest(features)
        long = self.long_interests(short, category, features)

        in_category, in_category_count = self.sampler.draw(category, weights.category_negatives)
        in_category_hit = in_category == target[..., None]
        in_category_negative = self.embedding.item(in_category)  # [B, T, n, D]
        in_category_positive = self.embedding.item(target)  # [B, T, D]

        def against_category(vector: tf.Tensor) -> tf.Tensor:
            return losses.sampled_softmax(
                tf.reduce_sum(vector * in_category_positive, axis=-1) / weights.temperature,
                tf.einsum("btd,btnd->btn", vector, in_category_negative) / weights.temperature,
                in_category_count, in_category_hit)

        def against_pool(vector: tf.Tensor) -> tf.Tensor:
            pool, pool_count = draw_from_pool(self.items, weights.pool_negatives)
            negative = tf.matmul(vector, self.embedding.candidate(pool), transpose_b=True)  # [B, n]
            shape = tf.concat([tf.shape(target), tf.shape(pool)], axis=0)
            return losses.sampled_softmax(
                tf.einsum("bd,btd->bt", vector, self.embedding.candidate(target)) / weights.temperature,
                tf.broadcast_to(negative[:, None, :] / weights.temperature, shape),
                pool_count, pool == target[..., None])

        vector = self.short_vector(short)
        parts = {
            "long": losses.copy_or_generate(long.gate, long.copied(target), against_category(long.vector)),
            "short": (against_pool(vector) if weights.short_negatives == "whole_pool"
                      else against_category(tf.broadcast_to(vector[:, None, :], tf.shape(long.vector)))),
            "category": losses.category_nll(self.predict_categories(short, features).probability, category),
        }
        parts = {name: losses.mean_of_real(part, real) for name, part in parts.items()}
        for name, part in parts.items():
            self.loss_parts[name].update_state(part, count_moments(features))
        return weights.alpha * parts["long"] + weights.beta * parts["short"] + weights.gamma * parts["category"]

    def compile(self, optimizer: keras.optimizers.Optimizer | str | None = None, **kwargs) -> None:
        """As Keras; without an optimizer, `LazyAdam`: a step's cost does not grow with V.

        Raises:
            ValueError: `jit_compile` is asked for.
        """
        if kwargs.get("jit_compile"):
            raise ValueError("jit_compile must be False or None, got True: XLA has no kernel that draws negatives, and "
                             "would compile a step anew for each number of categories in a batch. Leave it out.")
        super().compile(optimizer=optimizer or LazyAdam(self.settings.training.learning_rate), **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        # Named here because Keras wants a model that overrides `compile` to override this one and the next too.
        return super().get_compile_config()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was, with the optimizer's variables there to be restored."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {"config": settings.to_dict(self.settings), "items": self.items, "categories": self.categories}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UlimModel":
        return cls(**config)

