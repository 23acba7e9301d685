"""What the benchmark asks of every way to search."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

Search = Callable[[], ArrayLike]


@runtime_checkable
class CategoryIndex(Protocol):
    """Searches inside categories. It is built from a `Catalog`."""

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        """A search with its arguments in the form the method takes them in; calling it is what is timed.

        Args:
            query: float32 [P, D].
            category: int64 [P], 1..C.
            k: how many.

        Returns:
            A call that answers items int [P, k]; below 1 where the method found fewer than k.
        """

    def nbytes(self) -> int:
        """Size of what the index holds, in bytes."""


@runtime_checkable
class PoolIndex(Protocol):
    """Searches the whole pool."""

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        """As `CategoryIndex.ready`, for query float32 [B, D] and items int [B, k]."""

    def nbytes(self) -> int:
        """Size of what the index holds, in bytes."""


@runtime_checkable
class ServedIndex(Protocol):
    """Answers users one after the other inside one graph, as a server does, without a call from Python for each."""

    def ready_each(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        """As `CategoryIndex.ready`, for query float32 [U, p, D], category int64 [U, p] and items int [U, p, k]."""

    def resident(self) -> int:
        """By how many bytes a process grew that loaded it and searched once."""
