"""A trained model and its vocabularies -> one SavedModel folder that needs no file outside it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from serving import warmup
from serving.client import History
from serving.signatures import Servable
from ulim_tf.model import UlimModel
from ulim_tf.retrieval import quality
from ulim_tf.retrieval.blocked_index import BlockedIndex
from ulim_tf.retrieval.index import CategoryIndex
from ulim_tf.retrieval.normalizer import CategoryNormalizer
from ulim_tf.retrieval.scann_index import ScannIndex
from ulim_tf.retrieval.scann_searcher import aligned

_SAMPLED, _POOL_K = 1000, 100  # queries that measure the index, and what they want of the whole pool
_EMBEDDED = 2**16  # items at once


def export_servable(model: UlimModel, item_vocabulary: str, category_vocabulary: str, directory: str,
                    profile_vocabulary: str | None = None, progress: Callable[[str], None] = lambda _: None,
                    warmup_histories: Sequence[History] = (), rare_vocabulary: str | None = None,
                    transform_graph: str | None = None) -> quality.Quality:
    """Embeds the items, builds their index and saves the signatures of `serving/contract.py` and warm-up requests.

    Args:
        model: trained, with its catalogue set.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        directory: where saved_model.pb goes; made if missing.
        profile_vocabulary: the same for the tokens of users' profiles, of a model that reads them.
        progress: is told what begins, and how large categories are searched.
        warmup_histories: what the warm-up requests ask about; made up of the vocabulary if there are none.
        rare_vocabulary: text file, `features.RARE_VOCABULARY`, of a model with buckets.
        transform_graph: folder of the SavedModel that Transform wrote along with the vocabularies, which then numbers
            the ids of requests; None looks them up in the files.

    Returns:
        How much the index finds.

    Raises:
        ValueError: an item's vector is not finite, a vocabulary does not have as many lines as the model knows, or the
            index finds less than `retrieval.least_recall`.
    """
    check_vocabularies(model, item_vocabulary, category_vocabulary, profile_vocabulary)
    item = np.arange(1, model.items + 1)
    index, normalizer, found = build_index(
        model, item, model.embedding.item_category.numpy()[item], model.embedding.candidate, progress)
    progress("saving the servable")
    Servable(model, index, normalizer, item, item_vocabulary, category_vocabulary, profile_vocabulary, rare_vocabulary,
             transform_graph).save(directory)
    warmup.write(directory, warmup_histories or warmup.make(item_vocabulary, model.settings))
    return found


def build_index(model: UlimModel, item: np.ndarray, category: np.ndarray, candidate: Callable[[np.ndarray], tf.Tensor],
                progress: Callable[[str], None] = lambda _: None
                ) -> tuple[CategoryIndex, CategoryNormalizer, quality.Quality]:
    """Embeds items, builds what searches them and measures how much it finds.

    Args:
        model: whose settings and categories these are.
        item: int64 [n], ascending, the items that may be answered.
        category: int64 [n], 1..C.
        candidate: some of the items int64 [m] -> their vectors float32 [m, D + 1].
        progress: is told what begins.

    Raises:
        ValueError: as `export_servable`, but for the vocabularies.
    """
    progress(f"embedding {len(item):,} items")
    vectors = aligned(len(item), model.settings.model.width + 1)
    for start in range(0, len(item), _EMBEDDED):  # all at once, the parts of the sums would take several times as much
        part = slice(start, start + _EMBEDDED)
        vectors[part] = candidate(item[part]).numpy()
    query = quality.sample_queries(vectors, _SAMPLED)
    query[:, -1] = 1.0  # what an interest holds there, for an item's bias
    progress("building the index")
    category = category.astype(np.int32)
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
    found = quality.measure(index, item, category, vectors, query, retrieval.per_category, _POOL_K)
    quality.check(found, retrieval.least_recall, retrieval.least_pool_recall)
    normalizer = CategoryNormalizer(vectors, category, model.categories, model.settings.loss.temperature)
    index.release()
    return index, normalizer, found


def check_vocabularies(model: UlimModel, item: str, category: str, profile: str | None) -> None:
    """Raises ValueError for a text file that does not have as many lines as the model knows."""
    _check_lines(item, model.items, "items")
    _check_lines(category, model.categories, "categories")
    if model.profile:
        _check_lines(profile, model.profile, "profile tokens")


def _check_lines(file: str, wanted: int, of_what: str) -> None:
    with tf.io.gfile.GFile(file, "rb") as lines:
        found = sum(1 for _ in lines)
    if found != wanted:
        raise ValueError(f"vocabulary {file} has {found} lines, but the model knows {wanted} {of_what}. "
                         "Export with the vocabularies the model was trained with.")
