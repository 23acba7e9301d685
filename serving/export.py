"""A trained model and its vocabularies -> one SavedModel folder that needs no file outside it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf

from serving.signatures import Servable
from ulim_tf.model import UlimModel
from ulim_tf.retrieval import quality
from ulim_tf.retrieval.normalizer import CategoryNormalizer
from ulim_tf.retrieval.scann_index import ScannIndex

_SAMPLED, _POOL_K = 1000, 100  # queries that measure the index, and what they want of the whole pool


def export_servable(model: UlimModel, item_vocabulary: str, category_vocabulary: str, directory: str,
                    profile_vocabulary: str | None = None) -> None:
    """Embeds the items, builds both ScaNN searchers and saves the signatures of `serving/contract.py`.

    Args:
        model: trained, with its catalogue set.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        directory: where saved_model.pb goes; made if missing.
        profile_vocabulary: the same for the tokens of users' profiles, of a model that reads them.

    Raises:
        ValueError: an item's vector is not finite, a vocabulary does not have as many lines as the model knows, or the
            index finds less than `retrieval.least_recall`.
    """
    _check_lines(item_vocabulary, model.items, "items")
    _check_lines(category_vocabulary, model.categories, "categories")
    if model.profile:
        _check_lines(profile_vocabulary, model.profile, "profile tokens")
    vectors = model.embedding.candidate(tf.range(1, model.items + 1)).numpy()
    category = model.embedding.item_category.numpy()[1:].astype(np.int32)
    item = np.arange(1, model.items + 1)
    query = np.copy(vectors)
    query[:, -1] = 1.0  # what an interest holds there, for an item's bias
    query = quality.sample_queries(query, _SAMPLED)
    index = ScannIndex(item, category, vectors, model.categories, query=query)
    retrieval = model.settings.retrieval
    quality.check(quality.measure(index, item, category, vectors, query, retrieval.per_category, _POOL_K),
                  retrieval.least_recall, retrieval.least_pool_recall)
    normalizer = CategoryNormalizer(vectors, category, model.categories, model.settings.loss.temperature)
    Servable(model, index, normalizer, item_vocabulary, category_vocabulary, profile_vocabulary).save(directory)


def _check_lines(file: str, wanted: int, of_what: str) -> None:
    with tf.io.gfile.GFile(file, "rb") as lines:
        found = sum(1 for _ in lines)
    if found != wanted:
        raise ValueError(f"vocabulary {file} has {found} lines, but the model knows {wanted} {of_what}. "
                         "Export with the vocabularies the model was trained with.")
