"""What is known of an index once it is built: `index.json` beside the servable, for the run's report."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
import json
import os
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tfx.dsl.io import fileio

from ulim_tf.retrieval.quality import Quality

FILE = "index.json"

_WORST = 5


class IndexFacts(NamedTuple):
    """An index in a servable.

    Attributes:
        kind: as `retrieval.index`.
        items: that it holds.
        categories: that the model knows.
        bytes: of the servable's files.
        recall_in_category: of the best items of a category, what it finds.
        recall_pool: the same of the whole pool.
        worst: category id -> what it finds there, of those where it does not find all; the worst five.
        rare: items of the catalogue that it does not hold, for they have no row of their own.
    """

    kind: str
    items: int
    categories: int
    bytes: int
    recall_in_category: float
    recall_pool: float
    worst: dict[str, float]
    rare: int = 0  # a file from before there were any does not tell


def of(quality: Quality, *, kind: str, items: int, category_vocabulary: str, rare: int, servable: str) -> IndexFacts:
    """Facts of an index that was exported.

    Args:
        quality: as measured.
        kind: as `retrieval.index`.
        items: that it holds.
        category_vocabulary: text file, line i (from 1) is the id of category i.
        rare: items of the catalogue that have no row of their own.
        servable: folder of the SavedModel.
    """
    with tf.io.gfile.GFile(category_vocabulary, "rb") as lines:
        categories = [line.rstrip(b"\n").decode() for line in lines]
    files = [os.path.join(folder, name) for folder, _, names in fileio.walk(servable) for name in names]
    falling = [(number, found) for number, found in quality.by_category.items() if found < 1.0]
    return IndexFacts(
        kind=kind, items=items, categories=len(categories),
        bytes=sum(tf.io.gfile.stat(file).length for file in files),
        recall_in_category=quality.in_category, recall_pool=quality.pool,
        worst={categories[number - 1]: found for number, found in itertools.islice(reversed(falling), _WORST)},
        rare=rare)


def write(facts: IndexFacts, directory: str) -> None:
    """Writes FILE into a folder."""
    with tf.io.gfile.GFile(os.path.join(directory, FILE), "w") as file:
        file.write(json.dumps(facts._asdict(), indent=2, ensure_ascii=False) + "\n")


def read(directory: str | Path) -> IndexFacts:
    """What `write` wrote."""
    return IndexFacts(**json.loads(Path(directory, FILE).read_text()))
