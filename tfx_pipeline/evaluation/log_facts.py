"""What the evaluation needs of the log: popular items, head categories, and the categories of the held-out items."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ulim_tf import features


class LogFacts(NamedTuple):
    """Side inputs of whoever reads the held-out users."""

    popular: beam.pvalue.AsSingleton  # list[bytes], the most popular items first
    head: beam.pvalue.AsSingleton  # frozenset[bytes], the most frequent categories, with half of the events
    category_of: beam.pvalue.AsDict  # held-out item -> its category in the catalogue


class Column(NamedTuple):
    """A feature of the examples of a record batch."""

    values: pa.Array  # flat
    splits: np.ndarray  # int64 [n + 1], where the values of each example begin and end

    def of(self, example: int) -> np.ndarray:
        """The values of an example: bytes (object) or int64."""
        return self.values[self.splits[example]:self.splits[example + 1]].to_numpy(zero_copy_only=False)


def column(batch: pa.RecordBatch, name: str) -> Column:
    """Reads a feature; one that no example of the batch has is empty everywhere."""
    place = batch.schema.get_field_index(name)
    if place < 0 or pa.types.is_null(batch.column(place).type):
        return Column(pa.array([], pa.int64()), np.zeros(batch.num_rows + 1, np.int64))
    lists = batch.column(place)
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    return Column(lists.flatten(), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def held_out(batch: pa.RecordBatch) -> np.ndarray:
    """int64 [n], which examples of the batch are held-out users."""
    return np.flatnonzero(np.diff(column(batch, features.TARGET_ITEM).splits))


def log_facts(batches: beam.PCollection, most_popular: int) -> LogFacts:
    """Counts the events of the training split, and looks the held-out items up in the catalogue.

    Args:
        batches: record batches, each of one of the splits `train`, `eval` and `catalog`. A user of `eval` is in `train`
            too, without the held-out basket.
        most_popular: how many popular items are wanted.
    """
    popular = (batches | "CountItems" >> beam.Map(count_items)
               | "AllItems" >> beam.CombineGlobally(_sum_counts)
               | "PopularItems" >> beam.Map(lambda counts: by_frequency(counts)[:most_popular]))
    head = (batches | "CountCategories" >> beam.Map(count_categories)
            | "AllCategories" >> beam.CombineGlobally(_sum_counts)
            | "HeadCategories" >> beam.Map(head_categories))
    targets = (batches | "HeldOutItems" >> beam.Map(lambda batch: _distinct(column(batch, features.TARGET_ITEM)))
               | "AllHeldOutItems" >> beam.CombineGlobally(_union))
    category_of = batches | "LookUpCategories" >> beam.FlatMap(_categories_of, beam.pvalue.AsSingleton(targets))
    return LogFacts(beam.pvalue.AsSingleton(popular), beam.pvalue.AsSingleton(head), beam.pvalue.AsDict(category_of))


def count_items(batch: pa.RecordBatch) -> Counter:
    """Events of each item, of the users in the split `train`."""
    if len(held_out(batch)):
        return Counter()
    counted = column(batch, features.EVENT_ITEM).values.value_counts()
    return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist())))


def count_categories(batch: pa.RecordBatch) -> Counter:
    """Events of each category, of the users in the split `train`."""
    if len(held_out(batch)):
        return Counter()
    category, length = column(batch, features.CATEGORY), column(batch, features.CATEGORY_LENGTH)
    counts: Counter[bytes] = Counter()
    for name, events in zip(category.values.to_pylist(), length.values.to_pylist()):
        counts[name] += events
    return counts


def by_frequency(counts: Counter) -> list[bytes]:
    """By falling count, of equals in byte order."""
    return sorted(counts, key=lambda name: (-counts[name], name))


def head_categories(counts: Counter) -> frozenset[bytes]:
    """The most frequent categories, as many as it takes to have half of the events."""
    ordered = by_frequency(counts)
    events = np.cumsum([counts[name] for name in ordered])
    return frozenset(ordered[:1 + np.searchsorted(events, events[-1] / 2)]) if ordered else frozenset()


def _distinct(of: Column) -> frozenset[bytes]:
    return frozenset(of.values.to_pylist())


def _categories_of(batch: pa.RecordBatch, items: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    listed, category = column(batch, features.CATALOG_ITEM), column(batch, features.CATALOG_CATEGORY)
    for item, its_category in zip(listed.values.to_pylist(), category.values.to_pylist()):
        if item in items:
            yield item, its_category


def _sum_counts(counts: Iterable[Counter]) -> Counter:
    total: Counter[bytes] = Counter()
    for part in counts:
        total.update(part)
    return total


def _union(parts: Iterable[frozenset[bytes]]) -> frozenset[bytes]:
    return frozenset().union(*parts)
