"""ULIM's indexes as they are served: built and saved by another process, loaded by this one."""

import concurrent.futures
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.ann.catalog import DIMENSIONS, Catalog, invented
from benchmarks.ann.index import Search
from ulim_tf.retrieval.blocked_index import BlockedIndex
from ulim_tf.retrieval.index import CategoryIndex
from ulim_tf.retrieval.scann_index import ScannIndex

_KS = (1, 50, 100)


def scann_exact(catalog: Catalog) -> "Ulim":
    return Ulim(ScannIndex, catalog)


def scann_quantised(catalog: Catalog) -> "Ulim":
    return Ulim(ScannIndex, catalog, quantised=True)


def blocked(catalog: Catalog) -> "Ulim":
    return Ulim(BlockedIndex, catalog)


@cache
def warm_up() -> None:
    """Loads and asks a tiny index, so that what TensorFlow and ScaNN take once is counted for none."""
    tiny = invented(100, 5)
    for kind in (ScannIndex, BlockedIndex):
        Ulim(kind, tiny).ready(tiny.vectors[:1], tiny.category[:1], 1)()


class Ulim:
    """A SavedModel that holds an index, called with tensors.

    Args:
        kind: of index.
        catalog: to be indexed.
        options: of that kind.
    """

    def __init__(self, kind: Callable[..., CategoryIndex], catalog: Catalog, **options: bool):
        with tempfile.TemporaryDirectory() as folder:
            # In a process of its own, so that what building took is not counted as what the index takes.
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                self._choices = process.submit(_save, kind, catalog, folder, options).result()
            self._bytes = sum(file.stat().st_size for file in Path(folder, "variables").iterdir())
            self._loaded = tf.saved_model.load(folder)

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        return self._call(f"search_{k}", query=query, category=category)

    def ready_each(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        return self._call(f"search_each_{k}", query=query, category=category)

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        return self._call(f"search_all_{k}", query=query)

    def nbytes(self) -> int:
        return self._bytes

    def remarks(self) -> list[str]:
        """How large categories are searched."""
        return self._choices

    def _call(self, name: str, **given: np.ndarray) -> Search:
        signature, tensors = self._loaded.signatures[name], {key: tf.constant(value) for key, value in given.items()}
        return lambda: signature(**tensors)["item"]


def _save(kind: Callable[..., CategoryIndex], catalog: Catalog, folder: str, options: dict[str, bool]) -> list[str]:
    holder = tf.Module()
    index = holder.index = kind(np.arange(1, len(catalog.vectors) + 1), catalog.category, catalog.vectors,
                                catalog.categories, **options)
    vector, category = tf.TensorSpec([None, DIMENSIONS], name="query"), tf.TensorSpec([None], tf.int64, "category")
    vectors = tf.TensorSpec([None, None, DIMENSIONS], name="query")
    categories = tf.TensorSpec([None, None], tf.int64, "category")
    signatures = {}
    for k in _KS:
        def search(query: tf.Tensor, category: tf.Tensor, k: int = k) -> tf.Tensor:
            return index.search(query, category, k).item

        def search_each(query: tf.Tensor, category: tf.Tensor, search: Callable = search) -> tf.Tensor:
            return tf.map_fn(lambda of_user: search(*of_user), (query, category), fn_output_signature=tf.int64,
                             parallel_iterations=1)

        def search_all(query: tf.Tensor, k: int = k) -> tf.Tensor:
            return index.search_all(query, k).item

        for answer, given in ((search, (vector, category)), (search_each, (vectors, categories)),
                              (search_all, (vector,))):
            signatures[f"{answer.__name__}_{k}"] = tf.function(
                lambda *tensors, answer=answer: {"item": answer(*tensors)}, autograph=False
            ).get_concrete_function(*given)
    tf.saved_model.save(holder, folder, signatures=signatures)
    return [str(choice) for choice in getattr(index, "choices", [])]
