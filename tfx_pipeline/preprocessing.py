"""The Transform step: one item vocabulary and one category vocabulary, shared by histories, targets and catalogue, and
those of the tokens that describe items and users."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from ulim_tf import features
from ulim_tf.config import VocabularyConfig

_ITEMS = (features.EVENT_ITEM, features.TARGET_ITEM, features.CATALOG_ITEM)
_CATEGORIES = (features.CATEGORY, features.CATALOG_CATEGORY)


def preprocessing_fn(inputs: dict[str, Any], custom_config: Mapping[str, Any]) -> dict[str, Any]:
    """Maps ids to indices by falling frequency, 1 the most frequent, 0 the unknown.

    The vocabularies are computed over the splits `train` and `catalog`, so they hold every item of the catalogue that
    has `least_events`. The others are listed with their categories, as `features.RARE_VOCABULARY`.

    Args:
        inputs: the sparse features of `ulim_tf/features.py`, a batch of users and catalogue items.
        custom_config: the fields of a `VocabularyConfig`.

    Returns:
        The same names with int64 indices for ids.
    """
    config = VocabularyConfig(**custom_config)
    outputs = {name: inputs[name] for name in features.INTEGERS}
    if features.EVENT_TYPE in inputs:
        outputs[features.EVENT_TYPE] = inputs[features.EVENT_TYPE]
    shared: list[tuple[str, tuple[str, ...]]] = [(features.CATEGORY_VOCABULARY, _CATEGORIES)]
    if features.CATALOG_CONTENT in inputs:
        outputs[features.CATALOG_CONTENT_LENGTH] = inputs[features.CATALOG_CONTENT_LENGTH]
        shared.append((features.CONTENT_VOCABULARY, (features.CATALOG_CONTENT,)))
    if features.PROFILE in inputs:
        shared.append((features.PROFILE_VOCABULARY, (features.PROFILE,)))
    for vocabulary, names in shared:
        ranked = _ranked(inputs, names, vocabulary)
        outputs |= {name: _indices(inputs[name], ranked) for name in names}
    # The catalogue has each item once, which is no event.
    items = _ranked(inputs, _ITEMS, features.ITEM_VOCABULARY, config.least_events + 1 if config.least_events else None)
    outputs |= {name: _indices(inputs[name], items, config.oov_buckets) for name in _ITEMS}
    if config.least_events:
        _list_rare(inputs, _indices(inputs[features.CATALOG_ITEM], items), outputs[features.CATALOG_CATEGORY])
    return outputs


def _ranked(inputs: dict[str, Any], names: tuple[str, ...], vocabulary: str, least: int | None = None) -> tf.Tensor:
    """The distinct values of some features. Only the splits that are analysed are counted, and the held-out targets are
    in neither of them."""
    return tft.vocabulary(tf.concat([inputs[name].values for name in names], axis=0), frequency_threshold=least,
                          vocab_filename=vocabulary)


def _indices(values: tf.SparseTensor, ranked: tf.Tensor, buckets: int = 0) -> tf.SparseTensor:
    index = tft.apply_vocabulary(values, ranked, default_value=features.UNKNOWN - 1, num_oov_buckets=buckets)
    return tf.SparseTensor(index.indices, index.values + 1, index.dense_shape)


def _list_rare(inputs: dict[str, Any], own: tf.SparseTensor, category: tf.SparseTensor) -> None:
    item = inputs[features.CATALOG_ITEM].values
    listed = tf.strings.join([item, tf.strings.as_string(category.values)], features.BETWEEN_TOKENS)
    # With another separator in the id, the line could not be taken apart.
    separable = tf.strings.regex_full_match(item, f"[^{features.BETWEEN_TOKENS}]*")
    tft.vocabulary(tf.boolean_mask(listed, (own.values == features.UNKNOWN) & separable),
                   vocab_filename=features.RARE_VOCABULARY)
