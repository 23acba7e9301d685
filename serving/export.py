"""A trained model and its vocabularies -> SavedModel folders, each of which needs no file outside it."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract, model_card, warmup
from serving.cascade import Cascade
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
_BATCHING = os.path.join(os.path.dirname(__file__), "batching_params.pbtxt")


class Built(NamedTuple):
    """What searches items, and how much it finds."""

    index: CategoryIndex
    normalizer: CategoryNormalizer
    quality: quality.Quality


def export_servable(model: UlimModel, item_vocabulary: str, category_vocabulary: str, directory: str,
                    profile_vocabulary: str | None = None, progress: Callable[[str], None] = lambda _: None,
                     warmup_histories: Sequence[History] = (), rare_vocabulary: str | None = None,
                     transform_graph: str | None = None) -> quality.Quality:
    """As `export_servables`, of `ulim` alone, into a folder. Returns how much the index finds."""
    return export_servables(model, item_vocabulary, category_vocabulary, {contract.MODEL_NAME: directory},
                            profile_vocabulary, progress, warmup_histories, rare_vocabulary=rare_vocabulary,
                            transform_graph=transform_graph)[contract.MODEL_NAME]


def export_servables(model: UlimModel, item_vocabulary: str, category_vocabulary: str, directories: Mapping[str, str],
                     profile_vocabulary: str | None = None, progress: Callable[[str], None] = lambda _: None,
                     warmup_histories: Sequence[History] = (), data: Mapping[str, str] = MappingProxyType({}),
                     rare_vocabulary: str | None = None,
                     transform_graph: str | None = None) -> dict[str, quality.Quality]:
    """Embeds the items once, and of each servable builds the index and saves the signatures and what goes with them.

        ulim           with the index that `retrieval.index` names
        ulim_gpu       the same signatures and answers, of TensorFlow's own ops, for any server and its GPUs
        ulim_encoder   without items: what predicts categories and encodes users and items

    Args:
        model: trained, with its catalogue set.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        directories: of each servable that is wanted, by its name in `contract.SERVABLES`, where saved_model.pb goes;
            made if missing.
        profile_vocabulary: the same for the tokens of users' profiles, of a model that reads them.
        progress: is told what begins, and how large categories are searched.
        warmup_histories: what the warm-up requests ask about; made up of the vocabulary if there are none.
        data: what is known of the data, for the model card: what -> value.
        rare_vocabulary: text file, `features.RARE_VOCABULARY`, of a model with buckets.
        transform_graph: folder of the SavedModel that Transform wrote along with the vocabularies, which then numbers
            the ids of requests; None looks them up in the files.

    Returns:
        How much each index finds.

    Raises:
        ValueError: there is no such servable, an item's vector is not finite, a vocabulary does not have as many lines
            as the model knows, or an index finds less than `retrieval.least_recall`.
    """
    check_vocabularies(model, item_vocabulary, category_vocabulary, profile_vocabulary)
    item = np.arange(1, model.items + 1)
    category = model.embedding.item_category.numpy()[item]
    found = {}
    for name, directory, built in build(model, directories, item, category, model.embedding.candidate, progress):
        progress(f"saving {name}")
        cascade = built and Cascade(model, built.index, built.normalizer, item)
        Servable(model, cascade, item_vocabulary, category_vocabulary, profile_vocabulary, rare_vocabulary,
                 transform_graph).save(directory)
        furnish(directory, name, model, item_vocabulary, len(item), built and built.quality, warmup_histories, data)
        if built:
            found[name] = built.quality
    return found


def furnish(directory: str, name: str, model: UlimModel, item_vocabulary: str, items: int,
            found: quality.Quality | None, warmup_histories: Sequence[History], data: Mapping[str, str]) -> None:
    """Adds to a saved servable what a server and people want beside it, where TF Serving looks for it.

    Args:
        directory: of the SavedModel.
        name: of the servable.
        model: that it is of.
        item_vocabulary: as of `export_servables`, like the last two.
        items: that can be answered.
        found: by its index; None without one.
        warmup_histories: see above.
        data: see above.
    """
    warmup.write(directory, contract.SERVABLES[name], warmup_histories or warmup.make(item_vocabulary, model.settings))
    tf.io.gfile.copy(_BATCHING, os.path.join(directory, os.path.basename(_BATCHING)), overwrite=True)
    model_card.write(directory, name, model, items, found, data)


def build(model: UlimModel, directories: Mapping[str, str], item: np.ndarray, category: np.ndarray,
          candidate: Callable[[np.ndarray], tf.Tensor],
          progress: Callable[[str], None] = lambda _: None) -> Iterator[tuple[str, str, Built | None]]:
    """Embeds items, and builds for one servable after the other what searches them.

    Args:
        model: whose settings and categories these are.
        directories: as of `export_servables`.
        item: int64 [n], ascending, the items that may be answered.
        category: int64 [n], 1..C.
        candidate: some of the items int64 [m] -> their vectors float32 [m, D + 1].
        progress: is told what begins.

    Returns:
        each name with its directory, and what was built; None for a servable that answers no items.

    Raises:
        ValueError: as `export_servables`, but for the vocabularies.
    """
    unknown = sorted(directories.keys() - contract.SERVABLES.keys())
    if unknown or not directories:
        raise ValueError(f"directories must name servables of {', '.join(contract.SERVABLES)}, got "
                         f"{', '.join(unknown) or 'none'}. Leave out what is none of them.")
    indexed = [name for name in directories if contract.SIGNATURE_RECOMMEND in contract.SERVABLES[name]]
    if indexed:
        progress(f"embedding {len(item):,} items")
        vectors = aligned(len(item), model.settings.model.width + 1)
        for start in range(0, len(item), _EMBEDDED):  # all at once, the parts of the sums would take several times more
            part = slice(start, start + _EMBEDDED)
            vectors[part] = candidate(item[part]).numpy()
    for name, directory in directories.items():
        kind = model.settings.retrieval.index if name == contract.MODEL_NAME else "blocked"
        yield name, directory, (_build_index(model, kind, item, category.astype(np.int32), vectors, progress)
                                if name in indexed else None)


def _build_index(model: UlimModel, kind: str, item: np.ndarray, category: np.ndarray, vectors: np.ndarray,
                 progress: Callable[[str], None]) -> Built:
    """Builds an index of a kind of `retrieval.index`, and measures how much it finds."""
    query = quality.sample_queries(vectors, _SAMPLED)
    query[:, -1] = 1.0  # what an interest holds there, for an item's bias
    progress(f"building the index, {kind}")
    retrieval = model.settings.retrieval
    if kind == "blocked":
        index = BlockedIndex(item, category, vectors, model.categories)
    else:
        index = ScannIndex(item, category, vectors, model.categories, kind == "scann_quantised", query)
        for choice in index.choices:
            progress(f"category {choice.category}, {choice.items:,} items: {choice.exact_us:,.0f} us a query exactly, "
                     f"{choice.hashed_us:,.0f} by hashing with recall {choice.hashed_recall:.3f}: "
                     + ("hashing" if choice.hashed else "exactly"))
    progress("measuring the index against exact search")
    found = quality.measure(index, item, category, vectors, query, retrieval.per_category, _POOL_K)
    quality.check(found, retrieval.least_recall, retrieval.least_pool_recall)
    normalizer = CategoryNormalizer(vectors, category, model.categories, model.settings.loss.temperature)
    index.release()
    return Built(index, normalizer, found)


def check_vocabularies(model: UlimModel, item: str, category: str, profile: str | None) -> None:
    """Raises ValueError for a text file that is missing or does not have as many lines as the model knows."""
    _check_lines(item, model.items, "items")
    _check_lines(category, model.categories, "categories")
    if model.profile:
        _check_lines(profile, model.profile, "profile tokens")


def _check_lines(file: str | None, wanted: int, of_what: str) -> None:
    if file is None:
        raise ValueError(f"the vocabulary of {of_what} must be given for a model that reads them, got None. Name the "
                         "text file that training numbered them by.")
    with tf.io.gfile.GFile(file, "rb") as lines:
        found = sum(1 for _ in lines)
    if found != wanted:
        raise ValueError(f"vocabulary {file} has {found} lines, but the model knows {wanted} {of_what}. "
                         "Export with the vocabularies the model was trained with.")
