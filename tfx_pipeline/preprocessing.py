"""The Transform step: one item vocabulary and one category vocabulary, shared by histories, targets and catalogue, and
those of the tokens that describe items and users."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from ulim_tf import features

_ITEMS = (features.EVENT_ITEM, features.TARGET_ITEM, features.CATALOG_ITEM)
_CATEGORIES = (features.CATEGORY, features.CATALOG_CATEGORY)


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Maps ids to indices by falling frequency, 1 the most frequent, 0 the unknown.

    The vocabularies are computed over the splits `train` and `catalog`, so they hold every item of the catalogue.

    Args:
        inputs: the sparse features of `ulim_tf/features.py`, a batch of users and catalogue items.

    Returns:
        The same names with int64 indices for ids.
    """
    outputs = {name: inputs[name] for name in features.INTEGERS}
    if features.EVENT_TYPE in inputs:
        outputs[features.EVENT_TYPE] = inputs[features.EVENT_TYPE]
    shared = [(features.ITEM_VOCABULARY, _ITEMS), (features.CATEGORY_VOCABULARY, _CATEGORIES)]
    if features.CATALOG_CONTENT in inputs:
        outputs[features.CATALOG_CONTENT_LENGTH] = inputs[features.CATALOG_CONTENT_LENGTH]
        shared.append((features.CONTENT_VOCABULARY, (features.CATALOG_CONTENT,)))
    if features.PROFILE in inputs:
        shared.append((features.PROFILE_VOCABULARY, (features.PROFILE,)))
    for vocabulary, names in shared:
        # Only the splits that are analysed are counted, and the held-out targets are in neither of them.
        ranked = tft.vocabulary(tf.concat([inputs[name].values for name in names], axis=0), vocab_filename=vocabulary)
        for name in names:
            index = tft.apply_vocabulary(inputs[name], ranked, default_value=features.UNKNOWN - 1)
            outputs[name] = tf.SparseTensor(index.indices, index.values + 1, index.dense_shape)
    return outputs
