"""A trained model and its vocabularies -> one SavedModel folder that needs no file outside it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from serving.signatures import Servable
from ulim_tf.model import UlimModel
from ulim_tf.retrieval import quality
from ulim_tf.retrieval.blocked_index import BlockedIndex
from ulim_tf.retrieval.normalizer import CategoryNormalizer
from ulim_tf.retrieval.scann_index import ScannIndex
from ulim_tf.retrieval.scann_searcher import aligned

_SAMPLED, _POOL_K = 1000, 100  # queries that measure the index, and what they want of the whole pool
_EMBEDDED = 2**16  # items at once


def export_servable(model: UlimModel, item_vocabulary: str, category_vocabulary: str, directory: str,
                    profile_vocabulary: str | None = None, candidates: np.ndarray | None = None,
                    progress: Callable[[str], None] = lambda _: None) -> None:
    """Embeds the items, builds their index and saves the signatures of `serving/contract.py`.

    Args:
        model: trained, with its catalogue set.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        directory: where saved_model.pb goes; made if missing.
        profile_vocabulary: the same for the tokens of users' profiles, of a model that reads them.
        candidates: int64 [n], ascending, the items that may be answered; the others are read in histories only. None
            answers all.
        progress: is told what begins, and how large categories are searched.

    Raises:
        ValueError: an item's vector is not finite, a vocabulary does not have as many lines as the model knows, or the
            index finds less than `retrieval.least_recall`.
    """
    check_lines(item_vocabulary, model.items, "items")
    check_lines(category_vocabulary, model.categories, "categories")
    if model.profile:
        check_lines(profile_vocabulary, model.profile, "profile tokens")
    item = np.arange(1, model.items + 1) if candidates is None else candidates
    progress(f"embedding {len(item):,} items")
    category = model.embedding.item_category.numpy()[item].astype(np.int32)
    vectors = _embed(model, item)
    query = quality.sample_queries(vectors, _SAMPLED)
    query[:, -1] = 1.0  # what an interest holds there, for an item's bias
    progress("building the index")
    retrieval = model.settings.retrieval
    if retrieval.index == "blocked":
        index = BlockedIndex(item, category, vectors, model.categories)
    else:
        index = ScannIndex(item, category, vectors, model.categories, retrieval.index == "scann_quantised", query)
        for choice in index.choices:
            progress(f"category {choice.category}, {choice.items:,} items: {choice.exact_us:,.0f} us a query exactly, "
                     f"{choice.hashed_us:,.0f} by hashing with recall {choice.hashed_recall:.3f}: "
                     + ("hashing" if choice.hashed else "exactly"))
    progress("measuring the index against exact search")
    quality.check(quality.measure(index, item, category, vectors, query, retrieval.per_category, _POOL_K),
                  retrieval.least_recall, retrieval.least_pool_recall)
    normalizer = CategoryNormalizer(vectors, category, model.categories, model.settings.loss.temperature)
    del vectors
    progress("saving the servable")
    Servable(model, index, normalizer, item, item_vocabulary, category_vocabulary, profile_vocabulary).save(directory)


def _embed(model: UlimModel, item: np.ndarray) -> np.ndarray:
    """Candidates float32 [n, D + 1] of int64 [n], in parts: what a vector is summed of takes several times its room."""
    vectors = aligned(len(item), model.settings.model.width + 1)
    for start in range(0, len(item), _EMBEDDED):
        part = slice(start, start + _EMBEDDED)
        vectors[part] = model.embedding.candidate(tf.constant(item[part])).numpy()
    return vectors


def check_lines(file: str, wanted: int, of_what: str) -> None:
    """Raises ValueError for a vocabulary, a text file, that does not have as many lines as the model knows."""
    with tf.io.gfile.GFile(file, "rb") as lines:
        found = sum(1 for _ in lines)
    if found != wanted:
        raise ValueError(f"vocabulary {file} has {found} lines, but the model knows {wanted} {of_what}. "
                         "Export with the vocabularies the model was trained with.")
