import collections
import csv
import datetime
import gzip
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings

from tfx_pipeline import reading
from ulim_tf.features import split_tokens

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

COLUMNS = ["user_id", "item_id", "category_id", "timestamp", "group_id"]
GOOD = [("u1", "i1", "c1", "1500000000", "g1"), ("u2", "i2", "c2", "1500000001.75", "g2"),
        ("ü3", "i3", "c1", "1500000002", "g2")]
BAD = {
    "missing user_id": ("", "i1", "c1", "1500000000", "g1"),
    "missing item_id": ("u1", "  ", "c1", "1500000000", "g1"),
    "missing category_id": ("u1", "i1", "\t", "1500000000", "g1"),
    "unparsable timestamp": ("u1", "i1", "c1", "yesterday", "g1"),
    "timestamp out of range: in milliseconds? divide by 1000 for unix seconds":
        ("u1", "i1", "c1", "1500000000000", "g1"),
}
# Three rows of each kind, each among good ones: row n of a kind is at 1 + n * a round, and a good row follows each.
ROWS = [row for _ in range(3) for bad in BAD.values() for row in (bad, GOOD[0])] + GOOD
EXPECTED_ROWS = {reason: [1 + 2 * kind + 10 * turn for turn in range(3)] for kind, reason in enumerate(BAD)}
GOOD_READ = 15 * [("u1", "i1", "c1", 1500000000, "g1")] + [
    ("u1", "i1", "c1", 1500000000, "g1"), ("u2", "i2", "c2", 1500000001, "g2"), ("ü3", "i3", "c1", 1500000002, "g2")]


def write_csv(path, rows):
    lines = [",".join(row) for row in [COLUMNS, *rows]]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_parquet(path, rows):
    pq.write_table(pa.table(dict(zip(COLUMNS, map(list, zip(*rows))))), path)


def example(values):
    features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
                for name, value in zip(COLUMNS, values)}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_tfrecord(path, rows):
    write_records(path, [example(row) for row in rows])


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)


WRITERS = {"log.csv": write_csv, "log.csv.gz": write_csv, "log.parquet": write_parquet,
           "log.tfrecord": write_tfrecord, "log.tfrecord.gz": write_tfrecord}


def read(path, columns=None):
    """All good rows as tuples, all rejected rows."""
    source = reading.find(reading.EVENTS, str(path), columns or {})
    good, rejected = [], []
    for file in source.files:
        for events, bad in reading.read_events(file, source.columns):
            columns_of_ids = [events.user_id, events.item_id, events.category_id, events.group_id]
            user, item, category, *group = (
                [value.decode() for value in ids.decode()] for ids in columns_of_ids if ids is not None)
            good += zip(user, item, category, events.timestamp.tolist(), *group)
            rejected += bad
    return good, rejected


def rows_by_reason(rejected):
    rows = collections.defaultdict(list)
    for row in rejected:
        rows[row.reason].append(row.row)
    return dict(rows)


@pytest.mark.parametrize("name", WRITERS)
def test_bad_rows_are_rejected_and_good_ones_kept(tmp_path, name):
    WRITERS[name](tmp_path / name, ROWS)
    good, rejected = read(tmp_path / name)
    assert good == GOOD_READ
    assert rows_by_reason(rejected) == EXPECTED_ROWS
    assert {row.file for row in rejected} == {str(tmp_path / name)}
    unparsable = next(row for row in rejected if row.reason == "unparsable timestamp")
    assert json.loads(unparsable.raw) == dict(zip(COLUMNS, BAD["unparsable timestamp"]))


@pytest.mark.parametrize("name", WRITERS)
def test_batches_keep_count_of_the_rows(tmp_path, name, monkeypatch):
    monkeypatch.setattr(reading, "BATCH_ROWS", 4)
    monkeypatch.setattr(reading, "_CSV_BLOCK_BYTES", 150)
    WRITERS[name](tmp_path / name, ROWS)
    good, rejected = read(tmp_path / name)
    assert good == GOOD_READ
    assert rows_by_reason(rejected) == EXPECTED_ROWS


@pytest.mark.parametrize("name", WRITERS)
def test_a_log_without_a_valid_row(tmp_path, name):
    WRITERS[name](tmp_path / name, list(BAD.values()))
    good, rejected = read(tmp_path / name)
    assert good == []
    assert [row.reason for row in rejected] == list(BAD)


@pytest.mark.parametrize("block", [64, 1 << 22])
def test_csv_lines_that_are_no_rows(tmp_path, monkeypatch, block):
    monkeypatch.setattr(reading, "_CSV_BLOCK_BYTES", block)
    good_line, quoted = b"u1,i1,c1,1500000000,g1", b'"u,2","say ""i2""",c2,1500000001,"g2"'
    bad = {
        "wrong number of columns": [b"u1,i1,c1", b"u1,i1,c1,1500000000,g1,more", b"\xff,i1"],
        "malformed quotes (a quoted value must end on its own line)":
            [b'u1,"i1,c1,1500000000,g1', b'"u1,i1,c1,1500000000,g1', b'u1,i1,c1,5" x,"g1'],
        "invalid UTF-8 in item_id": [b"u1,\xff\xfe,c1,1500000000,g1"] * 3,
    }
    lines = [",".join(COLUMNS).encode(), b""]
    expected = collections.defaultdict(list)
    for turn in range(3):
        for reason, examples in bad.items():
            lines += [good_line, b"", examples[turn], quoted]
            expected[reason].append(sum(map(bool, lines)) - 2)
    (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    good, rejected = read(tmp_path / "log.csv")
    assert good == [("u1", "i1", "c1", 1500000000, "g1"), ("u,2", 'say "i2"', "c2", 1500000001, "g2")] * 9
    assert rows_by_reason(rejected) == expected
    assert [row.raw for row in rejected if row.reason.startswith("wrong")] == [
        "u1,i1,c1", "u1,i1,c1,1500000000,g1,more", "\\xff,i1"]


FIELDS = ["u1", "", "é", " ", '""', '"u,1"', '"a""b"', '"é"', '" "', '"', 'a"b', '"a"b', ' "a"', '"a" ', '"a\rb"',
          "a\rb"]


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(st.tuples(st.lists(st.sampled_from(FIELDS), min_size=2, max_size=4), st.booleans(),
                                st.integers(0, 9).map(lambda one: one == 9)), min_size=1, max_size=8))
@hypothesis.example(lines=[(["u1", "a\rb", '"u,1"'], True, False), (['"é"', '"', '"u,1"'], False, False)])
def test_csv_is_read_as_by_pythons_csv_line_by_line(tmp_path_factory, lines):
    texts = [",".join(fields) + "\0" * nul + "\r" * carriage for fields, carriage, nul in lines
             if "a\rb" not in fields or '"u,1"' in fields]  # without quotes, it ends a line
    assume(any(text.strip("\r") for text in texts))
    good, bad = [], []
    for text in filter(None, (text.rstrip("\r") for text in texts)):
        row = len(good) + len(bad) + 1
        try:
            fields = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
            reason = "" if len(fields) == 3 else "wrong number of columns"
        except csv.Error:
            reason = "malformed quotes (a quoted value must end on its own line)"
        if reason:
            bad.append((row, reason, text))
        else:
            good.append((row, *(field.encode() for field in fields)))
    file = tmp_path_factory.mktemp("lines") / "log.csv"
    file.write_bytes("\n".join(["a,b,c", *texts]).encode())
    batches = list(reading._read(str(file), {"a": "a", "b": "b", "c": "c"}))
    assert [row for batch in batches for row in zip(
        batch.row.tolist(), *(batch.columns[name].to_pylist() for name in "abc"))] == good
    assert [(one.row, one.reason, one.raw) for batch in batches for one in sorted(
        batch.malformed, key=lambda one: one.row)] == bad


def test_bytes_that_are_not_text_elsewhere_in_a_row_do_no_harm(tmp_path):
    lines = [b"note,user_id,item_id,category_id,timestamp", b"caf\xe9,u1,i1,c1,1500000000", b"tea,u2,i1,c1,1500000000"]
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines))
    assert read(tmp_path / "log.csv") == (
        [("u1", "i1", "c1", 1500000000), ("u2", "i1", "c1", 1500000000)], [])


@pytest.mark.parametrize(("values", "expected"), [
    (pa.array([123, 4], pa.int64()), ["123", "4"]),
    (pa.array([123, None], pa.float64()), ["123", None]),
    (pa.array([123.0, 1.5], pa.float32()), ["123", "1.5"]),
    (pa.array([2**60, 7], pa.uint64()), [str(2**60), "7"]),
    (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    (pa.array([b"a", b"\xff"], pa.binary()), ["a", None]),
    (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
])
def test_parquet_ids_of_any_type_are_read_as_text(tmp_path, values, expected):
    times = pa.array([1500000000, 1500000000])
    pq.write_table(pa.table({"user_id": values, "item_id": values, "category_id": values, "timestamp": times}),
                   tmp_path / "log.parquet")
    good, rejected = read(tmp_path / "log.parquet")
    assert [row[0] for row in good] == [value for value in expected if value]
    assert len(rejected) == expected.count(None)


@pytest.mark.parametrize("column", [
    pa.array([1500000000, None]),
    pa.array([1500000000, 0]),
    pa.array([1500000000, 4102444800], pa.uint32()),
    pa.array([1500000000.9, float("nan")]),
    pa.array([1500000000.9, float("inf")]),
    pa.array([" 1.5e9 ", "0x59682f00"]),
    pa.array([datetime.datetime(2017, 7, 14, 2, 40), None], pa.timestamp("ns")),
    pa.array([datetime.datetime(2017, 7, 14, 2, 40), None], pa.timestamp("us", tz="Europe/Paris")),
    pa.array([datetime.datetime(2017, 7, 14, 2, 40), datetime.datetime(1969, 1, 1)], pa.timestamp("ms")),
])
def test_timestamps_of_any_type_are_seconds(tmp_path, column):
    names = pa.array(["a", "b"])
    pq.write_table(pa.table({"user_id": names, "item_id": names, "category_id": names, "timestamp": column}),
                   tmp_path / "log.parquet")
    good, rejected = read(tmp_path / "log.parquet")
    assert good == [("a", "a", "a", 1500000000)]
    assert [row.row for row in rejected] == [2]


@pytest.mark.parametrize(("written", "reason"), [
    (1500000000 * 10**3, "in milliseconds? divide by 1000 for unix seconds"),
    (1500000000 * 10**6, "in microseconds? divide by 1000000 for unix seconds"),
    (1500000000 * 10**9, "in nanoseconds? divide by 1000000000 for unix seconds"),
    (-5, "not unix seconds"),
    (5 * 10**18, "not unix seconds"),
])
def test_the_likely_unit_of_a_time_is_told(tmp_path, written, reason):
    write_csv(tmp_path / "log.csv", [("u1", "i1", "c1", str(written), "g1"), GOOD[0]])
    good, [rejected] = read(tmp_path / "log.csv")
    assert len(good) == 1 and rejected.reason == f"timestamp out of range: {reason}"


def test_tfrecords_with_numbers_and_with_records_that_are_no_rows(tmp_path):
    numbers = tf.train.Example()
    for name, value in zip(COLUMNS, [7, 8, 9, 1500000000, 1]):
        numbers.features.feature[name].int64_list.value.append(value)
    several = tf.train.Example.FromString(example(GOOD[0]))
    several.features.feature["item_id"].bytes_list.value.append(b"i2")
    absent = tf.train.Example.FromString(example(GOOD[0]))
    del absent.features.feature["user_id"]
    records = [example(GOOD[0]), numbers.SerializeToString(), several.SerializeToString(), b"\xff\xffnonsense",
               absent.SerializeToString()]
    write_records(tmp_path / "log.tfrecord", records * 3)
    good, rejected = read(tmp_path / "log.tfrecord")
    assert good == [("u1", "i1", "c1", 1500000000, "g1"), ("7", "8", "9", 1500000000, "1")] * 3
    assert rows_by_reason(rejected) == {"several values of item_id": [3, 8, 13], "not a tf.Example": [4, 9, 14],
                                        "missing user_id": [5, 10, 15]}


def test_rows_without_a_group_share_a_basket_by_the_second(tmp_path):
    rows = [("u1", "i1", "c1", "1500000000", ""), ("u1", "i2", "c1", "1500000000", ""),
            ("u1", "i3", "c1", "1500000009", ""), ("u1", "i3", "c1", "1500000009", "g1")]
    write_csv(tmp_path / "log.csv", rows)
    good, rejected = read(tmp_path / "log.csv")
    groups = [row[4] for row in good]
    assert rejected == []
    assert groups[0] == groups[1] and len(set(groups)) == 3 and groups[3] == "g1"


def test_columns_are_mapped_and_found_in_many_files(tmp_path):
    (tmp_path / "a.csv").write_text("shop,who,what,kind,at\n1,u1,i1,c1,1500000000\n")
    (tmp_path / "b.csv").write_text("who,what,kind,at\nu2,i2,c2,1500000000\n")
    columns = {"user_id": "who", "item_id": "what", "category_id": "kind", "timestamp": "at"}
    assert read(tmp_path / "*.csv", columns)[0] == [("u1", "i1", "c1", 1500000000), ("u2", "i2", "c2", 1500000000)]


@pytest.mark.parametrize("columns", [{}, {"item_id": "what", "timestamp": "at"}])
def test_a_catalogue_may_use_the_mapped_or_the_standard_names(tmp_path, columns):
    name = columns.get("item_id", "item_id")
    (tmp_path / "items.csv").write_text(f"{name},category_id,title,price\ni1,c1,Milk,1\n,c1,,1\ni2,,,1\ni3,c2,,1\n")
    source = reading.find(reading.CATALOG, str(tmp_path / "items.csv"), columns)
    (rows, rejected), = reading.read_catalog(source.files[0], source.columns)
    assert [ids.decode().tolist() for ids in rows] == [[b"i1", b"i3"], [b"c1", b"c2"], [b"Milk", b""], [b"", b""]]
    assert rows_by_reason(rejected) == {"missing item_id": [2], "missing category_id": [3]}


def test_content_becomes_tokens(tmp_path):
    table = pa.table({"item_id": ["i1", "i2", "", "i4"], "category_id": ["c"] * 4, "brand": ["Own", None, "Own", " "],
                      "maker": [7.0, 8.0, 9.0, None]})
    pq.write_table(table, tmp_path / "items.parquet")
    source = reading.find(reading.CATALOG, str(tmp_path / "items.parquet"), {}, ["brand", "maker"])
    (rows, rejected), = reading.read_catalog(source.files[0], source.columns, source.describing)
    assert [split_tokens(joined) for joined in rows.content.decode()] == [[b"brand=Own", b"maker=7"], [b"maker=8"], []]
    assert rows_by_reason(rejected) == {"missing item_id": [3]}
    with pytest.raises(ValueError, match=r"must have what features.item_content names, has no 'size'; its columns"):
        reading.find(reading.CATALOG, str(tmp_path / "items.parquet"), {}, ["size"])


def test_a_users_file_gives_profiles(tmp_path):
    (tmp_path / "users.csv").write_text("member,country,age\nu1,nl,30\nu2,,\n,de,20\nu1,be,31\n")
    source = reading.find(reading.USERS, str(tmp_path / "users.csv"), {"user_id": "member"}, ["country", "age"])
    (rows, rejected), = reading.read_users(source.files[0], source.columns, source.describing)
    assert [ids.decode().tolist() for ids in rows] == [
        [b"u1", b"u2", b"u1"], [b"country=nl\x1fage=30", b"", b"country=be\x1fage=31"]]
    assert rows_by_reason(rejected) == {"missing user_id": [3]}
    with pytest.raises(ValueError, match=r"must have what features.user_profile names, has no 'city'; its"):
        reading.find(reading.USERS, str(tmp_path / "users.csv"), {"user_id": "member"}, ["city"])


def test_a_catalogue_needs_no_titles(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,category_id\ni1,c1\n")
    source = reading.find(reading.CATALOG, str(tmp_path / "items.csv"), {})
    (rows, _), = reading.read_catalog(source.files[0], source.columns)
    assert rows.title.decode().tolist() == [b""]


@pytest.mark.parametrize(("name", "content", "columns", "message"), [
    ("log.csv", "user_id,item_id\n", {}, "must have a column for 'category_id'.*'user_id', 'item_id'.*--columns"),
    ("log.csv", "user_id,item_id,category_id,timestamp\n", {"group_id": "basket"}, "for 'group_id'.*no 'basket'"),
    ("log.csv", "user_id\n", {"household": "user_id"}, "unknown standard name 'household'.*user_id, item_id"),
    ("log.txt", "", {}, "extension must be one of .csv.*got .*log.txt.*Convert"),
    ("log.csv", "", {}, "cannot be read as .csv: it is empty"),
    ("log.parquet", "no parquet", {}, "cannot be read as .parquet"),
    ("log.tfrecord", "no tfrecord, whatever its name says", {}, "cannot be read as .tfrecord"),
    ("other.csv", "", {}, "no file matches .*log.*Check the path"),
])
def test_unreadable_logs_are_refused_with_a_remedy(tmp_path, name, content, columns, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        reading.find(reading.EVENTS, str(tmp_path / "log*"), columns)


def test_files_with_different_columns_are_refused(tmp_path):
    write_csv(tmp_path / "a.csv", GOOD)
    (tmp_path / "b.csv").write_text("user_id,item_id,category_id,timestamp\n")
    with pytest.raises(ValueError, match=r"same columns.*a\.csv.*group_id=group_id.*b\.csv.*Read them in separate"):
        reading.find(reading.EVENTS, str(tmp_path / "*.csv"), {})


def test_a_column_of_lists_is_refused(tmp_path):
    names = pa.array(["a"])
    pq.write_table(pa.table({"user_id": pa.array([[1]]), "item_id": names, "category_id": names,
                             "timestamp": pa.array(np.array([1500000000]))}), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"'user_id'.*must hold text or numbers, got list"):
        read(tmp_path / "log.parquet")


@pytest.mark.parametrize("size", [7, 40, 200])
def test_parts_of_a_csv_file_hold_every_line_once(tmp_path, monkeypatch, size):
    write_csv(tmp_path / "log.csv", ROWS)
    monkeypatch.setattr(reading, "_PART_BYTES", size)
    source = reading.find(reading.EVENTS, str(tmp_path / "log.csv"), {})
    times, rejected = [], 0
    for part in reading.parts(source.files[0]):
        for events, bad in reading.read_events(part, source.columns):
            times += events.timestamp.tolist()
            rejected += len(bad)
    assert times == [row[3] for row in GOOD_READ] and rejected == 15


def test_a_time_after_the_log_was_written_is_rejected(tmp_path):
    rows = [(*GOOD[0][:3], str(time), "g1") for time in (1500000000, 1500000000 + 86400, 1500000001 + 86400)]
    write_csv(tmp_path / "log.csv", rows)
    source = reading.find(reading.EVENTS, str(tmp_path / "log.csv"), {})
    (events, rejected), = reading.read_events(source.files[0], source.columns, now=1500000000)
    assert events.timestamp.tolist() == [1500000000, 1500086400]
    assert rows_by_reason(rejected) == {"timestamp more than a day after the log was written (ingest.now)": [3]}
