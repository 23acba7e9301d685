"""From the files of an event log to serialized tf.Examples of the splits train, eval and catalog, in Beam.

An element is a chunk of many rows in columns, never one event: NumPy and Arrow do the work, Beam moves bytes about.

    parts of files ─► chunks ─┬─► newest event ─► cut ──────────┐
                              ├─► items before the cut ─► catalogue ─► catalog
                              └─► shards of users ──────────────┴─► train, eval

The cut lies `holdout_days` before the newest event, and a history is what came strictly before it. Each event takes the
category that the catalogue gives its item, as in serving, where categories are looked up by item.

Rules of the log, each counted in the summary:

    a malformed row                 is left out; `reading.py`
    a time after the log's end      the same: one event in the year 2090 would move the cut there
    out of order                    does not matter: events are sorted, whatever rows and files they come in. Counted is
                                    each row that is earlier than one of its user above it, in its file or in one whose
                                    path comes before
    a duplicate                     is kept or left out, as `ingest.duplicates` says
    more than `ingest.max_history`  of a user's events before the cut, the newest are kept; from it on, the oldest
    an item of several categories   has the one of the catalogue files, else the last of the log
    an item missing from the files  has its category of the log, though the files may not have that category either

This module imports neither TensorFlow nor TFX: every worker process imports it first.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import csv
import dataclasses
import io
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton, PCollection, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from tfx_pipeline import examples, packing, reading
from tfx_pipeline.config import IngestConfig
from tfx_pipeline.reading import CatalogRows, Part, Rejected, Source, UserRows
from ulim_tf import features
from ulim_tf.config import FeaturesConfig
from ulim_tf.sequences import DAY_SECONDS, Events, Histories, Ids, cap, held_out_baskets, lay_out

REJECTED = "rejected"
REJECTED_HEADER = "file,row,reason,raw"
SUMMARY = "summary"

_COUNTS = "counts"
_ROWS = "rows"
_ITEMS_PER_EXAMPLE = 1024
_SHARDED = ("user_id", "item_id", "timestamp", "group_id", "event_type")
_MERGED_BYTES = 1 << 24  # of a shard, until users with too many events lose some
_ZERO_COUNTS = (
    "events_rows_read", "events", "events_out_of_order", "users", "items", "categories", "category_conflicts",
    "events_cut_by_max_history", "held_out_events_cut_by_max_history", "duplicate_events",
    "users_rows_read", "train_users", "held_out_baskets", "eval_users", "target_items", "target_items_unseen",
    "catalog_rows_read", "catalog_conflicts", "catalog_disagreements", "items_missing_from_catalog",
    "categories_missing_from_catalog",
)


class Place(NamedTuple):
    """Where a chunk of rows comes from: the order of places is that of rows, of files in ascending order."""

    file: str
    part_start: int
    chunk: int


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
        now = config.now or self._events.written
        events, rejected, read_counts = root | "ReadEvents" >> _Read(
            self._events, bool(self._features.event_types), now)
        rejected, counts, listed = [rejected], [read_counts], None
        if self._catalog:
            rows, rejected_rows, read_counts = root | "ReadCatalog" >> _Read(self._catalog)
            rejected.append(rejected_rows)
            counts.append(read_counts)
            listed = AsList(rows | "ListedRows" >> beam.Values())
        profiles = root | "NoProfiles" >> beam.Create([])
        if self._users:
            rows, rejected_rows, read_counts = root | "ReadUsers" >> _Read(self._users)
            rejected.append(rejected_rows)
            counts.append(read_counts)
            profiles = rows | beam.Values() | "ShardProfiles" >> beam.FlatMap(shard_profiles, config.shards)

        chunks = events | "Chunks" >> beam.Values()
        span = (
            chunks
            | "SpanOfChunk" >> beam.Map(span_of)
            | "Span" >> beam.CombineGlobally(merge_spans).without_defaults())
        cut = AsSingleton(span | "Cut" >> beam.Map(cut_of, config.holdout_days))
        catalog, catalog_counts = (
            chunks
            | "PackItems" >> beam.Map(_pack_items)
            | "ItemsOfChunk" >> beam.Map(_unpack_items_before, cut)
            | "Items" >> beam.CombineGlobally(merge_item_categories)
            | "Catalog" >> beam.FlatMap(_catalog, listed).with_outputs(_COUNTS, main=features.SPLIT_CATALOG))
        train, held_out, user_counts = (
            {"events": events | "Shard" >> beam.FlatMap(shard_by_user, config.shards), "profiles": profiles}
            | "GroupByShard" >> beam.CoGroupByKey()
            | "Users" >> beam.FlatMap(_user_examples, cut, AsSingleton(catalog), config, self._features)
            .with_outputs(features.SPLIT_EVAL, _COUNTS, main=features.SPLIT_TRAIN))
        return {
            features.SPLIT_TRAIN: train,
            features.SPLIT_EVAL: held_out,
            features.SPLIT_CATALOG: catalog | "CatalogExamples" >> beam.FlatMap(
                catalog_examples, self._features),
            REJECTED: rejected | "Rejected" >> beam.Flatten(),
            SUMMARY: (
                [*counts, catalog_counts, user_counts]
                | "Counts" >> beam.Flatten()
                | "SumCounts" >> beam.CombineGlobally(_sum_counts)
                | "Summary" >> beam.Map(_summary, AsSingleton(span, default_value=None), config.holdout_days)),
        }


class _Read(beam.PTransform):
    """Files -> (Place, chunk of good rows: Events, CatalogRows or UserRows), CSV lines of those rejected, Counters."""

    def __init__(self, source: Source, with_types: bool = False, now: int = 0):
        super().__init__()
        self._source, self._with_types, self._now = source, with_types, now

    @no_annotations  # Beam has no notion of several outputs
    def expand(self, root: beam.Pipeline) -> tuple[PCollection, PCollection, PCollection]:
        chunks, rejected, counts, rows = (
            root
            | beam.Create(list(itertools.chain.from_iterable(map(reading.parts, self._source.files))))
            | beam.Reshuffle()
            | beam.FlatMap(_read_part, self._source, self._with_types, self._now)
            .with_outputs(REJECTED, _COUNTS, _ROWS, main="chunks"))
        return chunks, rejected | beam.FlatMap(_csv_lines, AsList(rows)), counts


def _read_part(part: Part, source: Source, with_types: bool, now: int) -> Iterator[Any]:
    rows_of_part = 0
    for number, (rows, rejected) in enumerate(_batches(part, source, with_types, now)):
        good = len((rows.user_id if isinstance(rows, UserRows) else rows.item_id).code)
        rows_of_part += good + len(rejected)
        counts: Counter[str | tuple[str, str]] = Counter({f"{source.kind}_rows_read": good + len(rejected)})
        counts.update((f"{source.kind}_rows_rejected", row.reason) for row in rejected)
        if good:
            yield Place(part.file, part.start, number), rows
        if rejected:
            yield TaggedOutput(REJECTED, (part, rejected))
        yield TaggedOutput(_COUNTS, counts)
    yield TaggedOutput(_ROWS, (part, rows_of_part))


def _batches(part: Part, source: Source, with_types: bool,
             now: int) -> Iterator[tuple[Events | CatalogRows | UserRows, list[Rejected]]]:
    if source.kind == reading.EVENTS:
        return reading.read_events(part, source.columns, with_types, now)
    if source.kind == reading.CATALOG:
        return reading.read_catalog(part, source.columns, source.describing)
    return reading.read_users(part, source.columns, source.describing)


def _csv_lines(element: tuple[Part, list[Rejected]], rows: list[tuple[Part, int]]) -> Iterator[str]:
    """Rejected rows of a part, numbered in their file, of which all parts are given with their rows."""
    part, rejected = element
    before = sum(count for other, count in rows if other.file == part.file and other.start < part.start)
    for row in rejected:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row._replace(row=before + row.row))
        yield line.getvalue()


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


def _pack_items(events: Events) -> bytes:
    return packing.pack({"item": events.item_id, "category": events.category_id, "timestamp": events.timestamp})


def _unpack_items_before(packed: bytes, cut: int) -> ItemCategories:
    """The items of the events before `cut` (unix seconds) with their categories."""
    columns = packing.merge([packing.unpack(packed)])
    before = columns["timestamp"] < cut
    return merge_item_categories([ItemCategories(
        columns["item"].take(before), columns["category"].take(before), columns["timestamp"][before])])


def merge_item_categories(parts: Iterable[ItemCategories]) -> ItemCategories:
    """Each pair once, with its latest time; ascending by item, then category."""
    parts = [ItemCategories(Ids.of([]), Ids.of([]), np.zeros(0, np.int64)), *parts]
    item = Ids.concat([part.item_id for part in parts])
    category = Ids.concat([part.category_id for part in parts])
    pair, of_event = np.unique(item.code * len(category.value) + category.code, return_inverse=True)
    latest = np.zeros(len(pair), np.int64)
    np.maximum.at(latest, of_event, np.concatenate([part.timestamp for part in parts]))
    item_code, category_code = np.divmod(pair, max(len(category.value), 1))
    return ItemCategories(Ids(item_code, item.value), Ids(category_code, category.value), latest)


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
        not that of the files), items_missing_from_catalog and categories_missing_from_catalog (those of the log that
        the files do not have).
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
        counts["categories_missing_from_catalog"] = int(np.count_nonzero(
            ~np.isin(log.category_id.value, rows.category_id.value)))
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


def catalog_examples(catalog: Catalog, features_config: FeaturesConfig) -> list[bytes]:
    """The split `catalog` as serialized tf.Examples, each of many items."""
    bounds = np.append(np.arange(0, len(catalog.item_id), _ITEMS_PER_EXAMPLE), len(catalog.item_id))
    tokens = [features.split_tokens(joined) for joined in catalog.content]
    length = np.array(list(map(len, tokens)), np.int64)
    return examples.encode(_complete({
        features.CATALOG_ITEM: examples.lists(bounds, catalog.item_id),
        features.CATALOG_CATEGORY: examples.lists(bounds, catalog.category_id),
        features.CATALOG_TITLE: examples.lists(bounds, catalog.title),
        features.CATALOG_CONTENT: examples.lists(_bounds(length)[bounds], list(itertools.chain.from_iterable(tokens))),
        features.CATALOG_CONTENT_LENGTH: examples.lists(bounds, length),
    }, len(bounds) - 1, features_config))


# ---------------------------------------------------------------------------------------------------------------- users


def shard_by_user(chunk: tuple[Place, Events], shards: int) -> Iterator[tuple[int, tuple[Place, bytes]]]:
    """The packed events of each shard that occurs, without their categories; a user is always in the same one."""
    place, events = chunk
    of_user = np.array([zlib.crc32(user) % shards for user in events.user_id.value], np.min_scalar_type(shards))
    shard = of_user[events.user_id.code]
    order = np.argsort(shard, kind="stable")
    starts = np.flatnonzero(_first_of_each(shard[order]))
    for rows in np.split(order, starts[1:]):
        yield int(shard[rows[0]]), (place, packing.pack(_sharded(events.take(rows))))


def _sharded(events: Events) -> packing.Columns:
    columns = {name: getattr(events, name) for name in _SHARDED}
    return {name: column for name, column in columns.items() if column is not None}


def _merged(batches: Sequence[pa.RecordBatch]) -> Events:
    columns = packing.merge(batches)
    return Events(category_id=Ids(np.zeros(len(columns["timestamp"]), np.int64), np.array([b""], object)), **columns)


def newest_events(parts: Iterable[tuple[Place, bytes]], cut: int, config: IngestConfig,
                  target_types: Sequence[str] = ()) -> tuple[Events, Counter]:
    """The events of a shard, of each user at most `max_history` before the cut and as many from it on.

    Args:
        parts: of `shard_by_user`, at least one, in any order. Memory holds them all as they are, some six bytes an
            event, but unpacked only what is kept of them.
        cut: unix seconds.
        config: gives max_history and seed.
        target_types: as of `sequences.cap`.

    Returns:
        The events, without categories, and Counter: events (all), events_out_of_order, events_cut_by_max_history,
        held_out_events_cut_by_max_history.
    """
    counts: Counter[str] = Counter()
    newest: dict[bytes, int] = {}
    pending: list[pa.RecordBatch] = []
    kept, size, most = 0, 0, _MERGED_BYTES

    def merged() -> Events:
        events = _merged(pending)
        counts["events"] += len(events) - kept
        counts["events_out_of_order"] += _out_of_order(events.at(slice(kept, None)), newest)
        remaining = cap(events, cut, config.max_history, config.seed, target_types)
        late, late_remaining = (int(np.count_nonzero(one.timestamp >= cut)) for one in (events, remaining))
        counts["held_out_events_cut_by_max_history"] += late - late_remaining
        counts["events_cut_by_max_history"] += len(events) - late - (len(remaining) - late_remaining)
        return remaining

    for _, part in sorted(parts):
        pending.append(packing.unpack(part))
        size += pending[-1].nbytes
        if size > most:
            pending = [packing.batch_of(_sharded(merged()))]
            kept, size = pending[0].num_rows, pending[0].nbytes
            most = max(2 * size, _MERGED_BYTES)
    return merged(), counts


def _out_of_order(events: Events, newest: dict[bytes, int]) -> int:
    """How many events are earlier than one of their user before them.

    Args:
        events: in the order of rows.
        newest: of the events before these, each user's newest time; it is brought up to date.
    """
    by_user = np.argsort(events.user_id.code, kind="stable")
    user, time = events.user_id.code[by_user], events.timestamp[by_user]
    bounds = np.append(np.flatnonzero(_first_of_each(user)), len(user))
    present = events.user_id.value[user[bounds[:-1]]].tolist()
    before = np.repeat([newest.get(one, 0) for one in present], np.diff(bounds))
    # Unix seconds until the year 2100 have 32 bits.
    newest_so_far = np.maximum.accumulate((user << 32) + np.maximum(time, before).astype(np.int64)) & 0xFFFF_FFFF
    newest.update(zip(present, newest_so_far[bounds[1:] - 1].tolist()))
    return int(np.count_nonzero(time < newest_so_far))


def shard_profiles(rows: UserRows, shards: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
    """The joined tokens of the users of each shard that occurs; shards are those of `shard_by_user`."""
    parts: dict[int, dict[bytes, bytes]] = {}
    for user, tokens in sorted(zip(rows.user_id.decode(), rows.profile.decode()), reverse=True):
        parts.setdefault(zlib.crc32(user) % shards, {})[user] = tokens  # of several rows, the first by its tokens
    yield from parts.items()


def _user_examples(shard: tuple[int, dict[str, Iterable[Any]]], cut: int, catalog: Catalog, config: IngestConfig,
                   features_config: FeaturesConfig) -> Iterator[Any]:
    """Examples of the users of a shard: of split train as they are, of split eval and counts tagged."""
    parts = list(shard[1]["events"])
    profiles: dict[bytes, bytes] = {}
    if not parts:
        return
    for part in shard[1]["profiles"]:
        profiles |= {user: min(tokens, profiles.get(user, tokens)) for user, tokens in part.items()}
    events, counts = newest_events(parts, cut, config, features_config.target_event_types)
    place_of = pd.Index(catalog.item_id)
    place = place_of.get_indexer(events.item_id.value)
    seen = (place >= 0) & np.append(catalog.seen, False)[place]
    held_out = {basket.user_id: basket for basket in held_out_baskets(
        events.of_types(features_config.target_event_types), cut, seen, config.seed)}
    counts += Counter(users=len(events.user_id.value), held_out_baskets=len(held_out))

    before = events.take(events.timestamp < cut)
    category = Ids.of(catalog.category_id[place_of.get_indexer(before.item_id.value)])
    before = dataclasses.replace(before, category_id=category.take(before.item_id.code))
    users = lay_out(before, config.max_history, config.seed, config.duplicates == "drop")
    counts += Counter(train_users=len(users.user_id), duplicate_events=int(users.duplicates.sum()))
    stored = _stored(users, profiles, features_config)
    yield from examples.encode(stored)

    baskets = [held_out.get(user) for user in users.user_id]
    counts += Counter(target_items=sum(len(basket.target_item_id) for basket in baskets if basket),
                      target_items_unseen=sum(basket.items_unseen for basket in baskets if basket))
    asked = {place: basket for place, basket in enumerate(baskets) if basket and len(basket.target_item_id)}
    counts["eval_users"] = len(asked)
    targets = [basket.target_item_id for basket in asked.values()]
    of_asked = {name: column.take(pa.array(list(asked), pa.int64())) for name, column in stored.items()}
    of_asked[features.TARGET_ITEM] = examples.lists(
        _bounds(map(len, targets)), list(itertools.chain.from_iterable(targets)))
    of_asked[features.TARGET_TIMESTAMP] = examples.lists(
        range(len(asked) + 1), np.array([basket.target_timestamp for basket in asked.values()], np.int64))
    for example in examples.encode(of_asked):
        yield TaggedOutput(features.SPLIT_EVAL, example)
    yield TaggedOutput(_COUNTS, counts)


def _stored(users: Histories, profiles: Mapping[bytes, bytes], features_config: FeaturesConfig) -> examples.Columns:
    tokens = [features.split_tokens(profiles.get(user, b"")) for user in users.user_id]
    events, rows = users.event_bounds, users.category_bounds
    columns = {
        features.USER_ID: examples.lists(range(len(users.user_id) + 1), users.user_id),
        features.EVENT_ITEM: examples.lists(events, users.event_item_id),
        features.EVENT_TIMESTAMP: examples.lists(events, users.event_timestamp),
        features.EVENT_RANK: examples.lists(events, users.event_rank),
        features.EVENT_BASKET_START: examples.lists(events, users.event_basket_start),
        features.CATEGORY: examples.lists(rows, users.category_id),
        features.CATEGORY_LENGTH: examples.lists(rows, users.category_length),
        features.PROFILE: examples.lists(_bounds(map(len, tokens)), list(itertools.chain.from_iterable(tokens))),
    }
    if users.event_type is not None:
        numbers = features.number_types(users.event_type.value, features_config.event_types)
        columns[features.EVENT_TYPE] = examples.lists(events, numbers[users.event_type.code])
    return _complete(columns, len(users.user_id), features_config)


def _complete(columns: examples.Columns, number: int, features_config: FeaturesConfig) -> examples.Columns:
    """The columns of every feature that examples have under these settings, empty where there is none yet."""
    texts, integers = list(features.BYTES), list(features.INTEGERS)
    if features_config.item_content:
        texts.append(features.CATALOG_CONTENT)
        integers.append(features.CATALOG_CONTENT_LENGTH)
    if features_config.user_profile:
        texts.append(features.PROFILE)
    if features_config.event_types:
        integers.append(features.EVENT_TYPE)
    nothing = {name: examples.lists([0] * (number + 1), np.zeros(0, kind)) for kind, names in
               ((object, texts), (np.int64, integers)) for name in names}
    return {name: columns.get(name, empty) for name, empty in nothing.items()}


def _bounds(lengths: Iterable[int]) -> np.ndarray:
    return np.append(0, np.cumsum(np.fromiter(lengths, np.int64)))


# --------------------------------------------------------------------------------------------------- what is told of it


def _sum_counts(counts: Iterable[Counter]) -> Counter:
    total: Counter[Any] = Counter()
    for part in counts:
        total.update(part)
    return total


def _summary(counts: Counter, span: tuple[int, int] | None, holdout_days: int) -> str:
    summary: dict[str, Any] = {name: counts[name] for name in _ZERO_COUNTS}
    summary |= {f"{kind}_rows_rejected": {} for kind in (reading.EVENTS, reading.CATALOG, reading.USERS)}
    for key, count in sorted(item for item in counts.items() if isinstance(item[0], tuple)):
        summary[key[0]][key[1]] = count
    if span:
        summary |= {"first_time": span[0], "cut_time": cut_of(span, holdout_days), "last_time": span[1]}
    return json.dumps(summary, indent=2)
