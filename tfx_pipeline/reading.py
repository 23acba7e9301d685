"""Event logs and catalogues from CSV, Parquet and TFRecord files, a batch of rows at a time.

A large file is read in parts, by several workers at once: Parquet by row groups, CSV by ranges of bytes; TFRecord and
compressed CSV are one part.

Each batch is checked with vectorised rules. A row that breaks one becomes a `Rejected` record with the reason; the
other rows of its file are kept whatever it holds. A row is named by its number, 1 for the first row of data: in CSV the
header and blank lines do not count, in TFRecord it is the record's number.

    .csv .csv.gz             first line names the columns; one row a line, so a quoted value cannot hold a line break
    .parquet
    .tfrecord .tfrecord.gz   tf.Example, one value a feature; a float feature is float32: too coarse for timestamps,
    .tfrecords .tfrecords.gz write those as int64

Ids are read as text whatever their type (the integer 123 and the float 123.0 are both "123") and kept as they stand,
surrounding spaces included, because a client sends them so. Timestamps are unix seconds: integers, floats (rounded
down), numeric text, or a Parquet time or date. One that is later than the log was written, by more than a day for
clocks and time zones, is rejected: the newest event decides where the held-out time begins. A row without `group_id` in
a log that has groups goes into a basket of the user's ungrouped events of that second.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import csv
import dataclasses
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from tfx_pipeline import packing
from ulim_tf import features
from ulim_tf.sequences import DAY_SECONDS, Events, Ids

if TYPE_CHECKING:  # a worker that reads no TFRecord starts in a third of the time without it
    import tensorflow as tf

EVENTS = "events"
CATALOG = "catalog"
USERS = "users"
REQUIRED = {EVENTS: ("user_id", "item_id", "category_id", "timestamp"), CATALOG: ("item_id", "category_id"),
            USERS: ("user_id",)}
OPTIONAL = {EVENTS: ("group_id", "event_type"), CATALOG: ("title",), USERS: ()}
_DESCRIBING = {CATALOG: "features.item_content", USERS: "features.user_profile"}

BATCH_ROWS = 1 << 18  # each piece of a batch brings its ids along, so that small ones take more bytes an event
_CSV_BLOCK_BYTES = 1 << 24
_PART_BYTES = 1 << 24
_PART_ROWS = 1 << 18
_YEAR_2100 = 4_102_444_800

_INVALID_UTF8 = "invalid UTF-8"
_BAD_QUOTES = "malformed quotes (a quoted value must end on its own line)"
_WRONG_WIDTH = "wrong number of columns"
_NOT_AN_EXAMPLE = "not a tf.Example"
_UNPARSABLE_TIME = "unparsable timestamp"
_TIME_OUT_OF_RANGE = "timestamp out of range: not unix seconds"
_PER_SECOND = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_TIME_IN_FUTURE = "timestamp more than a day after the log was written (ingest.now)"


class Rejected(NamedTuple):
    """A row that was left out: its file, its number from 1, why, and what it held."""

    file: str
    row: int
    reason: str
    raw: str


class Part(NamedTuple):
    """What is read at once: of `file`, the lines that begin at bytes, or the row groups, in [start, stop)."""

    file: str
    start: int
    stop: int


class CatalogRows(NamedTuple):
    """Rows of a catalogue file, in the file's order: Ids [E]; a title may be empty, `content` is as `join_tokens`."""

    item_id: Ids
    category_id: Ids
    title: Ids
    content: Ids


class UserRows(NamedTuple):
    """Rows of a users file, in the file's order: Ids [E]; `profile` is as `join_tokens`."""

    user_id: Ids
    profile: Ids


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of one kind and where each standard column is in them.

    Attributes:
        kind: EVENTS, CATALOG or USERS.
        files: paths, ascending.
        columns: standard name -> name in the files, for the columns that they have.
        describing: columns of a catalogue or a users file that describe what it lists, by their names in the files.
        written: unix seconds at which the newest of the files was written; 0 where the file system does not tell.
    """

    kind: str
    files: tuple[str, ...]
    columns: Mapping[str, str]
    describing: tuple[str, ...] = ()
    written: int = 0


def check_mapping(columns: Mapping[str, str]) -> None:
    """Raises ValueError if the mapping has a name on its left that is not a standard one."""
    standard = (*REQUIRED[EVENTS], *OPTIONAL[EVENTS], *OPTIONAL[CATALOG])
    for name in columns:
        if name not in standard:
            raise ValueError(f"columns must map standard names to the file's names, got the unknown standard name "
                             f"{name!r} (for {columns[name]!r}). The standard names are {', '.join(standard)}: write "
                             f"for example --columns user_id={columns[name]}.")


def check_extension(path: str) -> None:
    """Raises ValueError if no reader handles the path's extension."""
    if not path.endswith(tuple(_FORMATS)):
        raise ValueError(f"file extension must be one of {', '.join(_FORMATS)}, got {path!r}. "
                         "Convert the file, or rename it if it is of one of these formats.")


def find(kind: str, pattern: str, columns: Mapping[str, str], describing: Sequence[str] = ()) -> Source:
    """Finds the files of a pattern and the columns in them.

    Args:
        kind: EVENTS, CATALOG or USERS.
        pattern: a path, or one with `*` and `?`.
        columns: standard name -> name in the files. A catalogue may also use the standard name of a mapped column, so
            that one mapping serves a log and a catalogue that differ in it; so may a users file.
        describing: further columns of a catalogue or a users file.

    Raises:
        ValueError: no file matches, an extension is unknown, a file cannot be read, a required or named column is
            missing, or the files do not have the same columns.
    """
    check_mapping(columns)
    found = sorted(FileSystems.match([pattern])[0].metadata_list, key=lambda one: one.path)
    files = tuple(one.path for one in found)
    if not files:
        raise ValueError(f"{kind} must name at least one file, but no file matches {pattern!r}. "
                         "Check the path; a directory needs a pattern such as DIR/*.parquet.")
    for path in files:
        check_extension(path)
    located = [_locate(kind, path, columns, describing) for path in files]
    for path, of_file in zip(files, located):
        if of_file != located[0]:
            raise ValueError(f"{kind} files must all have the same columns, but {files[0]!r} has "
                             f"{_as_text(located[0])} and {path!r} has {_as_text(of_file)}. "
                             "Read them in separate runs, or add the column to all.")
    return Source(kind, files, located[0], tuple(describing),
                  int(max(one.last_updated_in_seconds or 0 for one in found)))


def parts(path: str) -> list[Part]:
    """The parts of a file, in its order; they do not depend on how many workers there are."""
    with _open(path) as stream:
        return [Part(path, start, stop) for start, stop in _FORMATS[_extension(path)].parts(stream)]


def read_events(path: str | Part, columns: Mapping[str, str], with_types: bool = False,
                now: int = 0) -> Iterator[tuple[Events, list[Rejected]]]:
    """Reads one file of an event log, or a part of it.

    Args:
        path: of the file; or the part, whose rows are then numbered from 1.
        columns: standard name -> name in the file, as in `Source`.
        with_types: whether event types are read; an event without one is of the type "".
        now: unix seconds; events of later than a day after it are rejected. 0: the time is not known.

    Yields:
        The good rows of a batch, and its bad ones.
    """
    latest = now + DAY_SECONDS if now else _YEAR_2100
    optional = {"group_id": "group_id" in columns, "event_type": with_types}
    names = [*REQUIRED[EVENTS], *(name for name, wanted in optional.items() if wanted)]
    for batch in _read(path, {name: columns[name] for name in names}):
        check = _Check(path, batch)
        ids = {name: check.required_text(name) for name in ("user_id", "item_id", "category_id")}
        timestamp = check.timestamp(latest)
        group = check.optional_text("group_id") if optional["group_id"] else None
        event_type = check.optional_text("event_type").fill_null("") if optional["event_type"] else None
        good, rejected = check.result()
        timestamp = timestamp[good]
        yield Events(
            **{name: _ids(column, good) for name, column in ids.items()},
            timestamp=timestamp,
            group_id=None if group is None else _group_ids(group, good, timestamp),
            event_type=None if event_type is None else _ids(event_type, good),
        ), rejected


def read_catalog(path: str | Part, columns: Mapping[str, str],
                 describing: Sequence[str] = ()) -> Iterator[tuple[CatalogRows, list[Rejected]]]:
    """Reads a catalogue file, or a part; arguments and yields as in `read_events`, `describing` as in `Source`."""
    described = _described(CATALOG, describing)
    for batch in _read(path, {**columns, **described}):
        check = _Check(path, batch)
        item, category = check.required_text("item_id"), check.required_text("category_id")
        title = check.optional_text("title") if "title" in columns else pa.nulls(len(item), pa.string())
        tokens = join_tokens({name: check.optional_text(key) for key, name in described.items()}, len(item))
        good, rejected = check.result()
        yield CatalogRows(*(_ids(column, good) for column in (item, category, title.fill_null(""), tokens))), rejected


def read_users(path: str | Part, columns: Mapping[str, str],
               describing: Sequence[str] = ()) -> Iterator[tuple[UserRows, list[Rejected]]]:
    """Reads one users file, or a part; arguments and yields as in `read_catalog`."""
    described = _described(USERS, describing)
    for batch in _read(path, {**columns, **described}):
        check = _Check(path, batch)
        user = check.required_text("user_id")
        tokens = join_tokens({name: check.optional_text(key) for key, name in described.items()}, len(user))
        good, rejected = check.result()
        yield UserRows(_ids(user, good), _ids(tokens, good)), rejected


def _described(kind: str, describing: Sequence[str]) -> dict[str, str]:
    """Names of describing columns beside the standard ones, which they may be too -> their names in the file."""
    return {f"{_DESCRIBING[kind]} {name}": name for name in describing}


def join_tokens(columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """The "column=value" tokens of each row, without nulls, as `features.split_tokens` takes them apart: string [E].

    Args:
        columns: name -> string [E].
        rows: E.
    """
    tokens = [pc.binary_join_element_wise(f"{name}=", values, "") for name, values in columns.items()]
    # The empty text keeps a row whose values are all null, which the join would leave out.
    joined = pc.binary_join_element_wise(pa.array([""] * rows), *tokens, features.BETWEEN_TOKENS, null_handling="skip")
    return pc.utf8_ltrim(joined, features.BETWEEN_TOKENS)


# ---------------------------------------------------------------------------------------------------- columns of a file


def _locate(kind: str, path: str, columns: Mapping[str, str], describing: Sequence[str]) -> dict[str, str]:
    """Standard name -> name in the file, for the standard columns it has."""
    try:
        with _open(path) as stream:
            present = _FORMATS[_extension(path)].header(stream, path)
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        raise ValueError(f"{kind} file {path!r} cannot be read as {_extension(path)}: {str(error) or 'it is empty'}. "
                         "Write it again, or leave it out of the pattern.") from error
    located = {}
    for name in REQUIRED[kind] + OPTIONAL[kind]:
        wanted = columns.get(name, name)
        if kind != EVENTS and wanted not in present:
            wanted = name
        if wanted in present:
            located[name] = wanted
        elif name in REQUIRED[kind] or name in columns:
            raise ValueError(f"{kind} file {path!r} must have a column for {name!r}, but has no {wanted!r}; its "
                             f"columns are {', '.join(map(repr, present))}. Name the right one with "
                             f"--columns {name}=ITS_NAME.")
    for name in describing:
        if name not in present:
            raise ValueError(f"{kind} file {path!r} must have what {_DESCRIBING[kind]} names, has no {name!r}; "
                             f"its columns are {', '.join(map(repr, present))}. Correct the setting, or add it.")
    return located


def _as_text(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={actual}" for name, actual in columns.items())


# ------------------------------------------------------------------------------------------------------- rows of a file


class _Batch(NamedTuple):
    """Rows of a file by standard column name, each row's number, and rows that could not even be split into columns."""

    columns: dict[str, pa.Array]
    row: np.ndarray
    several: dict[str, np.ndarray]  # TFRecord: which rows hold several values of a column
    malformed: list[Rejected]


class _Format(NamedTuple):
    header: Callable[[BinaryIO, str], Sequence[str]]
    parts: Callable[[BinaryIO], list[tuple[int, int]]]
    rows: Callable[[BinaryIO, Part, Mapping[str, str]], Iterator[_Batch]]


_TO_THE_END = 1 << 62
_WHOLE = (0, _TO_THE_END)


def _extension(path: str) -> str:
    return next(extension for extension in _FORMATS if path.endswith(extension))


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _read(path: str | Part, columns: Mapping[str, str]) -> Iterator[_Batch]:
    part = path if isinstance(path, Part) else Part(path, *_WHOLE)
    with _open(part.file) as stream:
        yield from _FORMATS[_extension(part.file)].rows(stream, part, columns)


def _one_part(stream: BinaryIO) -> list[tuple[int, int]]:
    return [_WHOLE]


def _csv_parts(stream: BinaryIO) -> list[tuple[int, int]]:
    size = stream.seek(0, os.SEEK_END)
    bounds = [*range(0, max(size, 1), _PART_BYTES), _TO_THE_END]
    return list(itertools.pairwise(bounds))


def _csv_start(stream: BinaryIO, path: str) -> tuple[BinaryIO, bytes, int]:
    """The stream of lines, behind the first that is not blank; this line; and how many bytes were read."""
    if path.endswith(".gz"):
        stream = io.BufferedReader(pa.CompressedInputStream(stream, "gzip"))
    read, line = 0, b"\n"
    while line and not line.strip(b"\r\n"):
        line = stream.readline()
        read += len(line)
    if not line:
        raise OSError("it is empty")
    return stream, line.rstrip(b"\n"), read


def _csv_blocks(stream: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """The lines that begin at `start`, where the stream is, up to `stop`, some megabytes at a time."""
    while start < stop and (block := stream.read(min(_CSV_BLOCK_BYTES, stop - start))):
        if not block.endswith(b"\n"):
            block += stream.readline()
        start += len(block)
        yield block


def _csv_names(header: bytes) -> list[str]:
    return next(csv.reader([header.decode("utf-8-sig", "replace").rstrip("\r")]))


def _csv_header(stream: BinaryIO, path: str) -> list[str]:
    return _csv_names(_csv_start(stream, path)[1])


def _csv_rows(stream: BinaryIO, part: Part, columns: Mapping[str, str]) -> Iterator[_Batch]:
    stream, header, start = _csv_start(stream, part.file)
    names = _csv_names(header)
    if part.start > start:  # a line that has begun before belongs to the part before
        stream.seek(part.start - 1)
        start = part.start - 1 + len(stream.readline())
    first = 1
    for block in _csv_blocks(stream, start, part.stop):
        if not block.strip(b"\r\n"):
            continue
        block, faults = _replace_faulty_lines(block, len(names))
        malformed: list[Rejected] = []

        def reject(row: pyarrow.csv.InvalidRow, first=first, faults=faults, malformed=malformed) -> str:
            reason, raw = faults.get(row.text, (_WRONG_WIDTH, row.text))
            malformed.append(Rejected(part.file, first - 1 + row.number, reason, raw))
            return "skip"

        # read_csv would look through every object of the process at each call, under Python 3.10.
        table = pyarrow.csv.open_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pyarrow.csv.ParseOptions(invalid_row_handler=reject),
            pyarrow.csv.ConvertOptions(include_columns=list(dict.fromkeys(columns.values())),
                                       column_types={name: pa.binary() for name in columns.values()})).read_all()
        rows = table.num_rows + len(malformed)
        bad = np.array([rejected.row for rejected in malformed], dtype=np.int64)
        yield _Batch(
            columns={name: table[actual].combine_chunks() for name, actual in columns.items()},
            row=np.setdiff1d(np.arange(first, first + rows), bad, assume_unique=True),
            several={},
            malformed=malformed,
        )
        first += rows


def _replace_faulty_lines(block: bytes, width: int) -> tuple[bytes, dict[str, tuple[str, str]]]:
    """Makes lines that would derail the CSV parser plainly too wide, so that it reports and skips them.

    An open quote would swallow the good lines after it, and the parser cannot report a line that is not UTF-8.

    Returns:
        The block, and replacement line -> (reason, the line it stands for).
    """
    is_text = _is_utf8(block)
    suspects = _oddly_quoted_lines(block)
    if is_text and not suspects:
        return block, {}
    lines = block.split(b"\n")
    if not is_text:
        suspects = sorted({*suspects, *(index for index, line in enumerate(lines) if not _is_utf8(line))})
    faults = {}
    for index in suspects:
        if reason := _fault(lines[index], width):
            replacement = f"\0{index}" + "," * width
            faults[replacement] = (reason, _readable(lines[index].rstrip(b"\r")))
            lines[index] = replacement.encode()
    return b"\n".join(lines), faults


def _oddly_quoted_lines(block: bytes) -> list[int]:
    """Ascending numbers, from 0, of lines with quotes other than around whole values without quotes or line breaks.

    All lines with quotes where the block has a NUL, at which `csv` stops.
    """
    if b'"' not in block:
        return []
    padded = np.frombuffer(b"\n" + block + b"\n\n", np.uint8)
    quote, = np.nonzero(padded == ord('"'))
    end, = np.nonzero(padded[1:-1] == ord("\n"))
    before = np.searchsorted(quote, end + 1)  # quotes up to the end of each line
    count = np.diff(before, prepend=0)
    if b"\0" in block:
        return np.flatnonzero(count).tolist()
    opens = (np.arange(len(quote)) - np.repeat(before - count, count)) % 2 == 0
    neighbour = padded[np.where(opens, quote - 1, quote + 1)]
    at_edge = (neighbour == ord(",")) | (neighbour == ord("\n"))
    at_edge |= ~opens & (neighbour == ord("\r")) & (padded[np.minimum(quote + 2, len(padded) - 1)] == ord("\n"))
    odd = count % 2 == 1
    odd[np.repeat(np.arange(len(end)), count)[~at_edge]] = True
    stray, = np.nonzero((padded[:-1] == ord("\r")) & (padded[1:] != ord("\n")))
    odd[np.searchsorted(end + 1, stray)] = True
    return np.flatnonzero(odd & (count > 0)).tolist()


def _fault(line: bytes, width: int) -> str | None:
    try:
        fields = next(csv.reader([_readable(line.rstrip(b"\r"))], strict=True))
    except csv.Error:
        return _BAD_QUOTES
    return None if len(fields) == width else _WRONG_WIDTH


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readable(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _parquet_header(stream: BinaryIO, path: str) -> list[str]:
    return pyarrow.parquet.ParquetFile(stream).schema_arrow.names


def _parquet_parts(stream: BinaryIO) -> list[tuple[int, int]]:
    groups = pyarrow.parquet.ParquetFile(stream).metadata
    before = np.cumsum([0] + [groups.row_group(index).num_rows for index in range(groups.num_row_groups)])
    _, starts = np.unique(before[:-1] // _PART_ROWS, return_index=True)
    return list(itertools.pairwise([*starts.tolist(), groups.num_row_groups]))


def _parquet_rows(stream: BinaryIO, part: Part, columns: Mapping[str, str]) -> Iterator[_Batch]:
    file = pyarrow.parquet.ParquetFile(stream)
    first = 1
    batches = file.iter_batches(BATCH_ROWS, row_groups=range(part.start, min(part.stop, file.num_row_groups)),
                                columns=list(dict.fromkeys(columns.values())), use_threads=False)
    for batch in batches:
        yield _Batch(
            columns={name: batch.column(batch.schema.get_field_index(actual)) for name, actual in columns.items()},
            row=np.arange(first, first + batch.num_rows),
            several={},
            malformed=[],
        )
        first += batch.num_rows


def _tfrecord_batches(path: str, size: int) -> Iterator[np.ndarray]:
    import tensorflow as tf

    records = tf.data.TFRecordDataset(path, compression_type="GZIP" if path.endswith(".gz") else "")
    return records.batch(size).as_numpy_iterator()


def _tfrecord_header(stream: BinaryIO, path: str) -> list[str]:
    # A record has the features it likes: those of the file are taken from its first thousand readable ones.
    import tensorflow as tf

    try:
        examples = [_parse(record) for record in next(_tfrecord_batches(path, 1000))]
    except tf.errors.DataLossError as error:
        raise OSError(str(error)) from error
    return sorted({name for example in examples if example for name in example.features.feature})


def _tfrecord_rows(stream: BinaryIO, part: Part, columns: Mapping[str, str]) -> Iterator[_Batch]:
    decoder = ExamplesToRecordBatchDecoder()
    first = 1
    for records in _tfrecord_batches(part.file, BATCH_ROWS):
        row = np.arange(first, first + len(records))
        first += len(records)
        malformed = []
        try:
            batch = decoder.DecodeBatch(list(records))
            lists = {name: _feature(batch, actual) for name, actual in columns.items()}
        except Exception:  # the decoder gives up on a whole batch for one bad record, with any kind of error
            examples = [_parse(record) for record in records]
            readable = np.array([example is not None for example in examples])
            malformed = [Rejected(part.file, int(number), _NOT_AN_EXAMPLE, _readable(record[:200]))
                         for number, record in zip(row[~readable], records[~readable])]
            row, examples = row[readable], [example for example in examples if example is not None]
            lists = {name: pa.array([_values_as_bytes(example, actual) for example in examples], pa.list_(pa.binary()))
                     for name, actual in columns.items()}
        length = {name: pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
                  for name, values in lists.items()}
        yield _Batch(
            columns={name: _first_value(values, length[name]) for name, values in lists.items()},
            row=row,
            several={name: counts > 1 for name, counts in length.items()},
            malformed=malformed,
        )


def _parse(record: bytes) -> "tf.train.Example | None":
    import tensorflow as tf

    try:
        return tf.train.Example.FromString(record)
    except Exception:  # each protobuf backend has a DecodeError of its own
        return None


def _feature(batch: pa.RecordBatch, name: str) -> pa.Array:
    index = batch.schema.get_field_index(name)
    return batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, pa.list_(pa.binary()))


def _values_as_bytes(example: "tf.train.Example", name: str) -> list[bytes]:
    feature = example.features.feature[name]
    if feature.HasField("int64_list"):
        return [b"%d" % value for value in feature.int64_list.value]
    if feature.HasField("float_list"):
        return [b"%d" % value if value.is_integer() else b"%r" % value for value in feature.float_list.value]
    return list(feature.bytes_list.value)


def _first_value(values: pa.Array, length: np.ndarray) -> pa.Array:
    starts = np.cumsum(length) - length
    return values.flatten().take(pa.array(starts, pa.int64(), mask=length == 0))


_CSV, _GZIPPED_CSV = (_Format(_csv_header, cut, _csv_rows) for cut in (_csv_parts, _one_part))
_TFRECORD = _Format(_tfrecord_header, _one_part, _tfrecord_rows)
_FORMATS = {
    ".csv": _CSV,
    ".csv.gz": _GZIPPED_CSV,
    ".parquet": _Format(_parquet_header, _parquet_parts, _parquet_rows),
    ".tfrecord": _TFRECORD,
    ".tfrecord.gz": _TFRECORD,
    ".tfrecords": _TFRECORD,
    ".tfrecords.gz": _TFRECORD,
}


# --------------------------------------------------------------------------------------------------------------- checks


class _Check:
    """Reads the columns of a batch by the rules of the log, and remembers the first rule that each row breaks."""

    def __init__(self, path: str | Part, batch: _Batch):
        self._path = path.file if isinstance(path, Part) else path
        self._batch = batch
        self._reasons: list[str] = []
        self._reason = np.full(len(batch.row), -1)
        for name, rows in batch.several.items():
            self._reject(rows, f"several values of {name}")

    def required_text(self, name: str) -> pa.Array:
        """string [E]; null, empty and blank values are rejected."""
        text = self.optional_text(name)
        self._reject(_mask(pc.is_null(text)), f"missing {name}")
        return text

    def optional_text(self, name: str) -> pa.Array:
        """string [E]; null where the column is null, empty or blank."""
        try:
            text, invalid = _text(self._batch.columns[name])
        except pa.ArrowNotImplementedError as error:
            raise ValueError(f"column for {name!r} of {self._path!r} must hold text or numbers, got "
                             f"{self._batch.columns[name].type}. Write it as text.") from error
        self._reject(invalid, f"{_INVALID_UTF8} in {name}")
        return text

    def timestamp(self, latest: int) -> np.ndarray:
        """int64 [E], unix seconds, at most `latest`; 0 where there is none."""
        seconds, invalid = _seconds(self._batch.columns["timestamp"])
        parsed = np.isfinite(seconds)
        in_range = parsed & (seconds > 0) & (seconds < _YEAR_2100)
        self._reject(invalid, f"{_INVALID_UTF8} in timestamp")
        self._reject(~parsed, _UNPARSABLE_TIME)
        # From 1970 to 2100, no two units have a number in common, but for the first weeks of 1970.
        for unit, per_second in _PER_SECOND.items():
            self._reject((seconds >= _YEAR_2100) & (seconds < _YEAR_2100 * per_second),
                         f"timestamp out of range: in {unit}? divide by {per_second} for unix seconds")
        self._reject(~in_range, _TIME_OUT_OF_RANGE)
        self._reject(seconds > latest, _TIME_IN_FUTURE)
        return np.where(in_range, seconds, 0).astype(np.int64)

    def result(self) -> tuple[np.ndarray, list[Rejected]]:
        """Which rows are good, bool [E], and the bad ones, those malformed from the start included."""
        bad = np.flatnonzero(self._reason >= 0)
        columns = [_plain(column).take(pa.array(bad)) for column in self._batch.columns.values()]
        rejected = [
            Rejected(self._path, int(self._batch.row[index]), self._reasons[self._reason[index]],
                     json.dumps({name: _raw(column[place]) for name, column in zip(self._batch.columns, columns)},
                                ensure_ascii=False))
            for place, index in enumerate(bad)
        ]
        return self._reason < 0, sorted(self._batch.malformed + rejected, key=lambda row: row.row)

    def _reject(self, rows: np.ndarray, reason: str) -> None:
        self._reason[rows & (self._reason < 0)] = len(self._reasons)
        self._reasons.append(reason)


def _text(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """string [E], null where missing, and which values are not UTF-8, bool [E]."""
    column = _plain(column)
    if pa.types.is_floating(column.type):
        column = _whole_numbers(column)
    invalid = np.zeros(len(column), dtype=bool)
    if pa.types.is_large_binary(column.type):
        try:
            column = column.cast(pa.large_string())
        except pa.ArrowInvalid:
            values = column.to_pylist()
            invalid = np.array([value is not None and not _is_utf8(value) for value in values])
            column = pa.array(["?" if bad else value for bad, value in zip(invalid, values)], pa.large_string())
    text = column.cast(pa.string())
    blank = pc.equal(pc.utf8_trim_whitespace(text), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), text), invalid


def _plain(column: pa.Array) -> pa.Array:
    """The same values, not dictionary-encoded, and text as bytes: what a file calls a string need not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = any(test(column.type) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
                                                 pa.types.is_fixed_size_binary))
    return column.cast(pa.large_binary()) if is_text else column


def _whole_numbers(column: pa.Array) -> pa.Array:
    """Floats as text, whole ones without a fraction: integer ids become floats in many a table with a missing one."""
    value = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    finite = np.isfinite(value)
    whole = finite & (np.floor(value) == value) & (np.abs(value) < 2.0**53)
    integers = pa.array(np.where(whole, value, 0).astype(np.int64)).cast(pa.string())
    others = pa.array(np.where(finite, value, 0), mask=~finite).cast(pa.string())
    return pc.if_else(pa.array(whole), integers, others)


def _seconds(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Whole seconds float64 [E], not finite where there is no number, and which values are not UTF-8, bool [E]."""
    column = _plain(column)
    valid = np.zeros(len(column), dtype=bool)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        ticks = column.cast(pa.int64())
        whole = ticks.fill_null(0).to_numpy(zero_copy_only=False) // per_second
        return np.where(_mask(column.is_null()), np.nan, whole), valid
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers, invalid = column.cast(pa.float64(), safe=False), valid
    else:
        text, invalid = _text(column)
        text = pc.utf8_trim_whitespace(text)
        numeric = pc.match_substring_regex(text, r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        numbers = pc.if_else(numeric, text, pa.scalar(None, pa.string())).cast(pa.float64())
    return np.floor(numbers.to_numpy(zero_copy_only=False)), invalid


def _mask(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(bool)


def _ids(text: pa.Array, good: np.ndarray) -> Ids:
    """The good rows of a text column without nulls in them."""
    return packing.ids_of(text.filter(pa.array(good)).dictionary_encode())


def _group_ids(group: pa.Array, good: np.ndarray, timestamp: np.ndarray) -> Ids:
    """Group ids; a good row without one gets a name that its second makes and no real group has."""
    group = group.filter(pa.array(good))
    second = pc.binary_join_element_wise("\0", pa.array(timestamp).cast(pa.string()), "")
    return _ids(pc.coalesce(group, second), np.ones(len(timestamp), dtype=bool))


def _raw(value: pa.Scalar) -> Any:
    value = value.as_py()
    if isinstance(value, bytes):
        return _readable(value)
    return value if value is None or isinstance(value, (int, float, str)) else str(value)
