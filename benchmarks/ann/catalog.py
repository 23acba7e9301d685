"""An invented catalogue and what is asked of it; it says nothing about quality."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

DIMENSIONS = 64
ZIPF = 0.8
DRAWS = ("uniform", "popular")
SEEDS = {"catalogue": 17, "questions": 23}
_ITEMS_OF_A_CLUSTER, _SPREAD = 500, 0.5


@dataclass(frozen=True)
class Catalog:
    """Items 1..V, each a vector in one of the categories 1..C.

    Args:
        vectors: float32 [V, D]; row i is item i + 1.
        category: int64 [V], 1..C.
        categories: C.
    """

    vectors: np.ndarray
    category: np.ndarray
    categories: int

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """The rows of each category: C times int64 [items of the category]."""
        order = np.argsort(self.category, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.category, minlength=self.categories + 1)[1:-1]))


def invented(items: int, categories: int, clustered: bool = False, seed: int = SEEDS["catalogue"]) -> Catalog:
    """Standard normal vectors; categories whose sizes follow Zipf's law, none of them empty.

    Args:
        items: V, at least C.
        categories: C.
        clustered: vectors are around common centres instead, as trained ones are.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    share = np.arange(1, categories + 1) ** -ZIPF
    category = np.append(np.arange(categories),
                         random.choice(categories, items - categories, p=share / share.sum())) + 1
    vectors = random.standard_normal((items, DIMENSIONS), np.float32)
    if clustered:
        centres = random.standard_normal((items // _ITEMS_OF_A_CLUSTER + 1, DIMENSIONS), np.float32)
        vectors = centres[random.integers(len(centres), size=items)] + np.float32(_SPREAD) * vectors
    return Catalog(vectors, random.permutation(category), categories)


def questions(catalog: Catalog, users: int, pairs: int, draw: str,
              seed: int = SEEDS["questions"]) -> tuple[np.ndarray, np.ndarray]:
    """What users ask: a standard normal vector in each of `pairs` distinct categories.

    Args:
        catalog: whose categories are asked for.
        users: U.
        pairs: a user's.
        draw: "uniform" over categories, or "popular": in proportion to their items, as a model that predicts what
            people take mostly asks for large ones.
        seed: of everything random.

    Returns:
        query float32 [U * pairs, D], category int64 [U * pairs]; a user's pairs are neighbours.
    """
    random = np.random.default_rng(seed)
    size = np.array([len(rows) for rows in catalog.rows])
    share = size / size.sum() if draw == "popular" else None
    category = [random.choice(catalog.categories, pairs, replace=False, p=share) + 1 for _ in range(users)]
    return random.standard_normal((users * pairs, DIMENSIONS), np.float32), np.concatenate(category)


def near_items(catalog: Catalog, users: int, seed: int = SEEDS["questions"]) -> np.ndarray:
    """Vectors around some items', float32 [U, D], as trained interests are."""
    random = np.random.default_rng(seed)
    near = catalog.vectors[random.choice(len(catalog.vectors), users)]
    return near + np.float32(_SPREAD) * random.standard_normal(near.shape, np.float32)
