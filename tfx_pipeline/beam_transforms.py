"""From the files of an event log to serialized tf.Examples of the splits train, eval and catalog, in Beam.

An element is a chunk of many rows in columns, never one event: NumPy does the work, Beam moves it about.

    files ─► chunks ─┬─► newest event ─► cut ──────────┐
                     ├─► items before the cut ─► catalogue ─► catalog
                     └─► shards of users ──────────────┴─► train, eval

The cut lies `holdout_days` before the newest event, and a history is what came strictly before it. Each event takes the
category that the catalogue gives its item, as in serving, where categories are looked up by item.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import csv
import io
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.pvalue import AsList, AsSingleton, PCollection, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from tfx_pipeline import reading
from tfx_pipeline.config import IngestConfig
from tfx_pipeline.reading import CatalogRows, Rejected, Source, UserRows
from ulim_tf import features
from ulim_tf.config import FeaturesConfig
from ulim_tf.sequences import DAY_SECONDS, Events, Ids, UserHistory, held_out_baskets, histories

REJECTED = "rejected"
REJECTED_HEADER = "file,row,reason,raw"
SUMMARY = "summary"

_COUNTS = "counts"
_ITEMS_PER_EXAMPLE = 1024
_ZERO_COUNTS = (
    "events_rows_read", "events", "users", "items", "categories", "category_conflicts", "events_cut_by_max_history",
    "users_rows_read", "train_users", "held_out_baskets", "eval_users", "target_items", "target_items_unseen",
    "catalog_rows_read", "catalog_conflicts", "catalog_disagreements", "items_missing_from_catalog",
)


class ItemCategories(NamedTuple):
    """P pairs of an item and a category that the log gives it, and when it last did: Ids [P], Ids [P], int64 [P]."""

    item_id: Ids
    category_id: Ids
    timestamp: np.ndarray


class Catalog(NamedTuple):
    """The items, in ascending order of their ids.

    Attributes:
        item_id, category_id, title: bytes (object) [V].
        content: bytes (object) [V], as `reading.join_tokens`.
        seen: bool [V], whether any user had the item before the cut.
    """

    item_id: np.ndarray
    category_id: np.ndarray
    title: np.ndarray
    content: np.ndarray
    seen: np.ndarray


class Ingest(beam.PTransform):
    """Reads a log and makes the examples of a run.

    Expands to a dict of PCollections: the three splits of `ulim_tf/features.py` as serialized tf.Examples; REJECTED,
    lines of a CSV file under REJECTED_HEADER; SUMMARY, one JSON object with the counts and times of the run.

    Args:
        events: the log.
        catalog: the catalogue; None derives it from the events before the cut.
        config: how to cut, keep and shuffle.
        features_config: what the towers read.
        users: what describes the users; None if nothing does.

    Raises:
        ValueError: types of events are told apart, but the log has none.
    """

    def __init__(self, events: Source, catalog: Source | None, config: IngestConfig,
                 features_config: FeaturesConfig = FeaturesConfig(), users: Source | None = None):
        super().__init__()
        if features_config.event_types and "event_type" not in events.columns:
            raise ValueError("features.event_types needs a column event_type in the log, which has only "
                             f"{', '.join(events.columns)}. Map it with --columns event_type=ITS_NAME, or leave the "
                             "setting out.")
        self._features = features_config
        self._events = events
        self._catalog = catalog
        self._users = users
        self._config = config

    @no_annotations  # Beam has no notion of several outputs
    def expand(self, root: beam.Pipeline) -> dict[str, PCollection]:
        config = self._config
        events, rejected, read_counts = root | "ReadEvents" >> _Read(self._events, bool(self._features.event_types))
        rejected, counts, listed = [rejected], [read_counts], None
        if self._catalog:
            rows, rejected_rows, read_counts = root | "ReadCatalog" >> _Read(self._catalog)
            rejected.append(rejected_rows)
            counts.append(read_counts)
            listed = AsList(rows)
        profiles = root | "NoProfiles" >> beam.Create([])
        if self._users:
            rows, rejected_rows, read_counts = root | "ReadUsers" >> _Read(self._users)
            rejected.append(rejected_rows)
            counts.append(read_counts)
            profiles = rows | "ShardProfiles" >> beam.FlatMap(shard_profiles, config.shards)

        span = (
            events
            | "SpanOfChunk" >> beam.Map(span_of)
            | "Span" >> beam.CombineGlobally(merge_spans).without_defaults())
        cut = AsSingleton(span | "Cut" >> beam.Map(cut_of, config.holdout_days))
        catalog, catalog_counts = (
            events
            | "ItemsOfChunk" >> beam.Map(item_categories_before, cut)
            | "Items" >> beam.CombineGlobally(merge_item_categories)
            | "Catalog" >> beam.FlatMap(_catalog, listed).with_outputs(_COUNTS, main=features.SPLIT_CATALOG))
        train, held_out, user_counts = (
            {"events": events | "Shard" >> beam.FlatMap(shard_by_user, config.shards), "profiles": profiles}
            | "GroupByShard" >> beam.CoGroupByKey()
            | "Users" >> beam.FlatMap(_user_examples, cut, AsSingleton(catalog), config.max_history, config.seed,
                                      self._features)
            .with_outputs(features.SPLIT_EVAL, _COUNTS, main=features.SPLIT_TRAIN))
        return {
            features.SPLIT_TRAIN: train,
            features.SPLIT_EVAL: held_out,
            features.SPLIT_CATALOG: catalog | "CatalogExamples" >> beam.FlatMap(
                _catalog_examples, self._features),
            REJECTED: rejected | "Rejected" >> beam.Flatten() | "RejectedLines" >> beam.FlatMap(_csv_lines),
            SUMMARY: (
                [*counts, catalog_counts, user_counts]
                | "Counts" >> beam.Flatten()
                | "SumCounts" >> beam.CombineGlobally(_sum_counts)
                | "Summary" >> beam.Map(_summary, AsSingleton(span, default_value=None), config.holdout_days)),
        }


class _Read(beam.PTransform):
    """Files -> chunks of good rows (Events or CatalogRows), lists of Rejected, Counters."""

    def __init__(self, source: Source, with_types: bool = False):
        super().__init__()
        self._source, self._with_types = source, with_types

    @no_annotations  # Beam has no notion of several outputs
    def expand(self, root: beam.Pipeline) -> tuple[PCollection, PCollection, PCollection]:
        return tuple(
            root
            | beam.Create(self._source.files)
            | beam.Reshuffle()
            | beam.FlatMap(_read_file, self._source, self._with_types).with_outputs(REJECTED, _COUNTS, main="chunks"))


def _read_file(path: str, source: Source, with_types: bool) -> Iterator[Any]:
    if source.kind == reading.EVENTS:
        batches = reading.read_events(path, source.columns, with_types)
    else:
        read = reading.read_catalog if source.kind == reading.CATALOG else reading.read_users
        batches = read(path, source.columns, source.describing)
    for rows, rejected in batches:
        good = len((rows.user_id if source.kind == reading.USERS else rows.item_id).code)
        counts = Counter({f"{source.kind}_rows_read": good + len(rejected)})
        counts.update((f"{source.kind}_rows_rejected", row.reason) for row in rejected)
        yield TaggedOutput(_COUNTS, counts)
        if good:
            yield rows
        if rejected:
            yield TaggedOutput(REJECTED, rejected)


# ----------------------------------------------------------------------------------------------------------------- time


def span_of(events: Events) -> tuple[int, int]:
    """Unix seconds of the oldest and the newest event."""
    return int(events.timestamp.min()), int(events.timestamp.max())


def merge_spans(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The span of at least one span."""
    first, last = zip(*spans)
    return min(first), max(last)


def cut_of(span: tuple[int, int], holdout_days: int) -> int:
    """Unix seconds at which the held-out time begins."""
    return span[1] - holdout_days * DAY_SECONDS


# ------------------------------------------------------------------------------------------------------------ catalogue


def item_categories_before(events: Events, cut: int) -> ItemCategories:
    """The items of the events before `cut` (unix seconds) with their categories."""
    before = events.take(events.timestamp < cut)
    return merge_item_categories([ItemCategories(before.item_id, before.category_id, before.timestamp)])


def merge_item_categories(parts: Iterable[ItemCategories]) -> ItemCategories:
    """Each pair once, with its latest time; ascending by item, then category."""
    parts = [ItemCategories(Ids.of([]), Ids.of([]), np.zeros(0, np.int64)), *parts]
    item = Ids.concat([part.item_id for part in parts])
    category = Ids.concat([part.category_id for part in parts])
    timestamp = np.concatenate([part.timestamp for part in parts])
    order = np.lexsort((-timestamp, category.code, item.code))
    latest = order[_first_of_each(item.code[order], category.code[order])]
    return ItemCategories(item.take(latest), category.take(latest), timestamp[latest])


def make_catalog(log: ItemCategories, listed: list[CatalogRows] | None) -> tuple[Catalog, Counter]:
    """The catalogue of a run, and what was odd about it.

    An item of the log has the category that the log gave it last, of several in that second the first in byte order.
    A catalogue file overrules the log; of several rows of an item, the first by category, title and content counts.

    Args:
        log: the items before the cut.
        listed: rows of the catalogue files; None if there are none.

    Returns:
        The catalogue, and Counter: items, categories, category_conflicts (items with several categories in the log),
        catalog_conflicts (items with several in the files), catalog_disagreements (items whose category in the log is
        not that of the files), items_missing_from_catalog (of the files; taken from the log).
    """
    order = np.lexsort((log.category_id.code, -log.timestamp, log.item_id.code))
    latest = order[_first_of_each(log.item_id.code[order])]
    item, category = log.item_id.value, log.category_id.decode()[latest]
    title, content, seen = _empty(len(item)), _empty(len(item)), np.ones(len(item), dtype=bool)
    counts = Counter(category_conflicts=_several(log.item_id))
    if listed is not None:
        rows = CatalogRows(*map(Ids.concat, zip(*listed))) if listed else CatalogRows(*[Ids.of([])] * 4)
        order = np.lexsort((rows.content.code, rows.title.code, rows.category_id.code, rows.item_id.code))
        first = order[_first_of_each(rows.item_id.code[order])]
        pairs = order[_first_of_each(rows.item_id.code[order], rows.category_id.code[order])]

        everything = Ids.concat([rows.item_id.take(first), Ids(np.arange(len(item)), item)])
        at_listed, at_log = everything.code[:len(first)], everything.code[len(first):]
        category, log_category = np.full(len(everything.value), None, dtype=object), category
        category[at_log] = log_category
        category[at_listed] = rows.category_id.decode()[first]
        title, content = _empty(len(everything.value)), _empty(len(everything.value))
        title[at_listed] = rows.title.decode()[first]
        content[at_listed] = rows.content.decode()[first]
        seen = np.zeros(len(everything.value), dtype=bool)
        seen[at_log] = True
        counts["catalog_conflicts"] = _several(rows.item_id.take(pairs))
        counts["items_missing_from_catalog"] = len(everything.value) - len(first)
        counts["catalog_disagreements"] = int(np.count_nonzero(category[at_log] != log_category))
        item = everything.value
    counts["items"], counts["categories"] = len(item), len(Ids.of(category).value)
    return Catalog(item, category, title, content, seen), counts


def _empty(items: int) -> np.ndarray:
    return np.full(items, b"", dtype=object)


def _catalog(log: ItemCategories, listed: list[CatalogRows] | None) -> Iterator[Any]:
    catalog, counts = make_catalog(log, listed)
    yield catalog
    yield TaggedOutput(_COUNTS, counts)


def _first_of_each(*sorted_columns: np.ndarray) -> np.ndarray:
    """bool [E], whether a row differs from the row before it."""
    first = np.ones(len(sorted_columns[0]), dtype=bool)
    first[1:] = np.any([column[1:] != column[:-1] for column in sorted_columns], axis=0)
    return first


def _several(ids: Ids) -> int:
    """How many distinct ids occur more than once."""
    return int(np.count_nonzero(np.bincount(ids.code) > 1))


def _catalog_examples(catalog: Catalog, features_config: FeaturesConfig) -> Iterator[bytes]:
    for start in range(0, len(catalog.item_id), _ITEMS_PER_EXAMPLE):
        chunk = slice(start, start + _ITEMS_PER_EXAMPLE)
        tokens = [features.split_tokens(joined) for joined in catalog.content[chunk]]
        yield _example({
            features.CATALOG_ITEM: catalog.item_id[chunk],
            features.CATALOG_CATEGORY: catalog.category_id[chunk],
            features.CATALOG_TITLE: catalog.title[chunk],
            features.CATALOG_CONTENT: list(itertools.chain.from_iterable(tokens)),
            features.CATALOG_CONTENT_LENGTH: list(map(len, tokens)),
        }, features_config)


# ---------------------------------------------------------------------------------------------------------------- users


def shard_by_user(events: Events, shards: int) -> Iterator[tuple[int, Events]]:
    """The events of each shard that occurs; a user is always in the same one."""
    of_user = np.array([zlib.crc32(user) % shards for user in events.user_id.value])
    shard = of_user[events.user_id.code]
    order = np.argsort(shard, kind="stable")
    starts = np.flatnonzero(_first_of_each(shard[order]))
    for rows in np.split(order, starts[1:]):
        yield int(shard[rows[0]]), events.take(rows)


def shard_profiles(rows: UserRows, shards: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
    """The joined tokens of the users of each shard that occurs; shards are those of `shard_by_user`."""
    parts: dict[int, dict[bytes, bytes]] = {}
    for user, tokens in sorted(zip(rows.user_id.decode(), rows.profile.decode()), reverse=True):
        parts.setdefault(zlib.crc32(user) % shards, {})[user] = tokens  # of several rows, the first by its tokens
    yield from parts.items()


def _user_examples(shard: tuple[int, dict[str, Iterable[Any]]], cut: int, catalog: Catalog, max_history: int,
                   seed: int, features_config: FeaturesConfig) -> Iterator[Any]:
    """Examples of the users of a shard: of split train as they are, of split eval and counts tagged."""
    parts = list(shard[1]["events"])
    if not parts:
        return
    events, profiles = Events.concat(parts), {}
    for part in shard[1]["profiles"]:
        profiles |= {user: min(tokens, profiles.get(user, tokens)) for user, tokens in part.items()}
    targets = events.of_types(features_config.target_event_types)
    held_out = {basket.user_id: basket
                for basket in held_out_baskets(targets, cut, _seen(targets.item_id.value, catalog), seed)}
    before = _with_category_of(catalog, events.take(events.timestamp < cut))
    counts = Counter(events=len(events), users=len(events.user_id.value), held_out_baskets=len(held_out))
    for history in histories(before, max_history, seed):
        stored = _stored(history, features_config.event_types)
        stored[features.PROFILE] = features.split_tokens(profiles.get(history.user_id, b""))
        counts["train_users"] += 1
        counts["events_cut_by_max_history"] += history.events_cut
        yield _example(stored, features_config)
        basket = held_out.get(history.user_id)
        if basket is None:
            continue
        counts["target_items"] += len(basket.target_item_id)
        counts["target_items_unseen"] += basket.items_unseen
        if len(basket.target_item_id):
            counts["eval_users"] += 1
            yield TaggedOutput(features.SPLIT_EVAL, _example({
                **stored,
                features.TARGET_ITEM: basket.target_item_id,
                features.TARGET_TIMESTAMP: [basket.target_timestamp],
            }, features_config))
    yield TaggedOutput(_COUNTS, counts)


def _seen(item_id: np.ndarray, catalog: Catalog) -> np.ndarray:
    """bool [n], which of the items [n] the catalogue marks as seen."""
    place = np.searchsorted(catalog.item_id, item_id)
    seen = place < len(catalog.item_id)
    place = place[seen]
    seen[seen] = (catalog.item_id[place] == item_id[seen]) & catalog.seen[place]
    return seen


def _with_category_of(catalog: Catalog, before: Events) -> Events:
    """Events before the cut, whose items are all in the catalogue, with the catalogue's categories."""
    of_item = Ids.of(catalog.category_id[np.searchsorted(catalog.item_id, before.item_id.value)])
    return Events(before.user_id, before.item_id, of_item.take(before.item_id.code), before.timestamp, before.group_id,
                  before.event_type)


def _stored(history: UserHistory, event_types: Sequence[str]) -> dict[str, Sequence[bytes] | np.ndarray]:
    return {
        features.USER_ID: [history.user_id],
        features.EVENT_ITEM: history.event_item_id,
        features.EVENT_TIMESTAMP: history.event_timestamp,
        features.EVENT_RANK: history.event_rank,
        features.EVENT_BASKET_START: history.event_basket_start,
        features.CATEGORY: history.category_id,
        features.CATEGORY_LENGTH: history.category_length,
        features.EVENT_TYPE: features.number_types(history.event_type, event_types) if event_types else (),
    }


def _example(values: Mapping[str, Sequence[Any] | np.ndarray], features_config: FeaturesConfig) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    texts, integers = list(features.BYTES), list(features.INTEGERS)
    if features_config.item_content:
        texts.append(features.CATALOG_CONTENT)
        integers.append(features.CATALOG_CONTENT_LENGTH)
    if features_config.user_profile:
        texts.append(features.PROFILE)
    if features_config.event_types:
        integers.append(features.EVENT_TYPE)
    for name in texts:
        feature[name].bytes_list.value.extend(values.get(name, ()))
    for name in integers:
        feature[name].int64_list.value.extend(values.get(name, ()))
    return example.SerializeToString(deterministic=True)


# --------------------------------------------------------------------------------------------------- what is told of it


def _csv_lines(rejected: Iterable[Rejected]) -> Iterator[str]:
    for row in rejected:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        yield line.getvalue()


def _sum_counts(counts: Iterable[Counter]) -> Counter:
    total = Counter()
    for part in counts:
        total.update(part)
    return total


def _summary(counts: Counter, span: tuple[int, int] | None, holdout_days: int) -> str:
    summary = {name: counts[name] for name in _ZERO_COUNTS}
    summary |= {f"{kind}_rows_rejected": {} for kind in (reading.EVENTS, reading.CATALOG, reading.USERS)}
    for key, count in sorted(item for item in counts.items() if isinstance(item[0], tuple)):
        summary[key[0]][key[1]] = count
    if span:
        summary |= {"first_time": span[0], "cut_time": cut_of(span, holdout_days), "last_time": span[1]}
    return json.dumps(summary, indent=2)
