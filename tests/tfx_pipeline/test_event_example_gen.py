import csv
import json
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.event_example_gen.executor import EventExampleGenExecutor, check
from tfx_pipeline.config import IngestConfig
from ulim_tf.config import FeaturesConfig

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

BRAND = FeaturesConfig(item_content=("brand",))
DAY = 86400
HEADER = ["household", "item_id", "category_id", "timestamp"]
COLUMNS = {"user_id": "household"}
GOOD = [(f"u{number % 5}", f"i{number % 9}", f"c{number % 3}", str(number * DAY)) for number in range(1, 61)]
BAD = [("", "i1", "c1", "86400"), ("u1", "i1", "c1", "soon"), ("u1", "i1", "c1", "1500000000000")]


def write_rows(path, header, rows):
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def run(directory, **arguments):
    """Runs the component in a pipeline of its own; returns the examples artifacts of all its runs so far."""
    component = EventExampleGen(**{"events": str(directory / "log/*.csv"), "columns": COLUMNS} | arguments)
    store = metadata.sqlite_metadata_connection_config(str(directory / "metadata.sqlite"))
    LocalDagRunner().run(pipeline.Pipeline(
        pipeline_name="ingest", pipeline_root=str(directory / "root"), metadata_connection_config=store,
        components=[component], enable_cache=True))
    return sorted((directory / "root/EventExampleGen/examples").iterdir(), key=lambda path: int(path.name))


def count(artifact, split):
    files = [str(path) for path in (artifact / f"Split-{split}").iterdir()]
    return sum(1 for _ in tf.data.TFRecordDataset(files, "GZIP"))


@pytest.fixture
def log(tmp_path):
    write_rows(tmp_path / "log/events.csv", HEADER, GOOD)
    return tmp_path


def test_a_run_is_cached_until_a_file_changes(log):
    items = str(log / "items/items.csv")
    write_rows(log / "items/items.csv", ["item_id", "category_id", "title"], [("i1", "c1", "One"), ("i99", "c1", "")])
    artifact, = run(log, catalog=items)
    # 60 days of events of 5 users and 9 items, the last 28 days held out; the file adds one item.
    assert [count(artifact, split) for split in ("train", "eval", "catalog")] == [5, 5, 1]
    summary = json.loads((artifact / "ingest_summary.json").read_text())
    assert (summary["events_rows_read"], summary["cut_time"], summary["catalog_rows_read"]) == (60, 32 * DAY, 2)
    assert summary["items"] == 10
    assert not (artifact / "rejected.csv").exists()
    assert run(log, catalog=items) == [artifact]

    write_rows(log / "items/items.csv", ["item_id", "category_id"], [("i1", "c1"), ("", "c1")] + [("i2", "c1")] * 18)
    artifact = run(log, catalog=items)[1]
    assert json.loads((artifact / "ingest_summary.json").read_text())["items"] == 9
    assert [row[1:3] for row in csv.reader((artifact / "rejected.csv").open())] == [
        ["row", "reason"], ["2", "missing item_id"]]


def test_every_argument_is_part_of_the_cache_key():
    base = {"events": "log.csv", "catalog": "items.csv", "columns": COLUMNS, "config": IngestConfig()}
    changes = [{}, {"events": "other.csv"}, {"catalog": None}, {"columns": {}}, {"features_config": BRAND},
               {"users": "users.csv"},
               {"config": IngestConfig(seed=1)}]
    keys = {json.dumps(EventExampleGen(**base | change).exec_properties, sort_keys=True) for change in changes}
    assert len(keys) == len(changes)


def test_many_malformed_rows_stop_the_run_and_stay_listed(log):
    write_rows(log / "log/more.csv", HEADER, BAD * 2)
    kept = log / "root/EventExampleGen/rejected/rejected.csv"
    with pytest.raises(RuntimeError, match="6 of 66 rows of the events files are malformed") as stopped:
        run(log)
    for part in ("2 missing user_id", "2 unparsable timestamp", "2 timestamp out of range", "share = 5.0%",
                 "more.csv,1,missing user_id", str(kept), "Fix these rows"):
        assert part in str(stopped.value)
    listed = list(csv.reader(kept.open()))
    assert listed[0] == ["file", "row", "reason", "raw"]
    assert sorted(row[1] for row in listed[1:]) == ["1", "2", "3", "4", "5", "6"]


def test_a_log_without_a_valid_row_stops_the_run(log):
    write_rows(log / "log/events.csv", HEADER, BAD)
    with pytest.raises(RuntimeError, match="3 of 3 rows of the events files are malformed"):
        run(log, config=IngestConfig(max_rejected_share=1.0), rejected_dir=str(log / "elsewhere"))
    assert len((log / "elsewhere/rejected.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(("found", "message"), [
    ({"events_rows_read": 0}, "the events files have no rows. Check the pattern"),
    ({"train_users": 0}, r"no event lies before the cut at 40 .*spans 20 to 60.*Lower ingest\.holdout_days"),
    ({"catalog_rows_rejected": {"missing item_id": 9}}, "9 of 10 rows of the catalog files are malformed"),
])
def test_a_run_that_read_too_little_is_stopped(tmp_path, found, message):
    (tmp_path / "rejected.csv").write_text("file,row,reason,raw\n")
    summary = {"events_rows_read": 10, "events_rows_rejected": {}, "catalog_rows_read": 10, "catalog_rows_rejected": {},
               "users_rows_read": 0, "users_rows_rejected": {},
               "train_users": 1, "first_time": 20, "cut_time": 40, "last_time": 60}
    check(summary, str(tmp_path), str(tmp_path / "kept"), IngestConfig())
    with pytest.raises(RuntimeError, match=message):
        check(summary | found, str(tmp_path), str(tmp_path / "kept"), IngestConfig())


@pytest.mark.parametrize(("arguments", "message"), [
    ({"columns": {"household": "user_id"}}, "unknown standard name 'household'"),
    ({"columns": {}}, "must have a column for 'user_id'.*'household'"),
    ({"events": "log.txt"}, "extension must be one of"),
    ({"features_config": BRAND}, "features.item_content needs a catalogue with the columns brand, got none"),
    ({"features_config": FeaturesConfig(user_profile=("age",))},
     "features.user_profile needs a users file with the columns user_id, age, got none"),
    ({"catalog": "nowhere/*.parquet"}, "catalog must name at least one file, but no file matches"),
])
def test_wrong_arguments_are_refused(log, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(log, **arguments)


@pytest.mark.parametrize(("events", "catalog", "base", "patterns"), [
    ("gs://bucket/data/log/*/part.csv", "gs://bucket/data/items.parquet", "gs://bucket/data",
     ["log/*/part.csv", "items.parquet"]),
    ("gs://bucket/log.csv", None, "gs://bucket", ["log.csv"]),
    ("s3://logs/a/*.csv", "s3://items/b.csv", "s3://", ["logs/a/*.csv", "items/b.csv"]),
    ("/data/log.csv", "/items.csv", "/", ["data/log.csv", "items.csv"]),
])
def test_folders_of_the_inputs(events, catalog, base, patterns):
    component = EventExampleGen(events=events, catalog=catalog)
    assert component.exec_properties["input_base"] == base
    found = json.loads(component.exec_properties["input_config"])["splits"]
    assert [split["pattern"] for split in found] == patterns


@pytest.mark.parametrize(("events", "catalog"), [("gs://shop/log.csv", "s3://shop/items.csv"),
                                                 ("gs://shop/log.csv", "/data/items.csv")])
def test_files_of_two_file_systems_are_refused(events, catalog):
    with pytest.raises(ValueError, match=f"must be in one file system, got {events}, {catalog}. Copy them to one"):
        EventExampleGen(events=events, catalog=catalog)


def write_span(directory, span, extension, users):
    path = directory / f"log/day-{span}/part{extension}"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(f"u{number % users}", *row[1:]) for number, row in enumerate(GOOD)]
    if extension == ".csv":
        write_rows(path, HEADER, rows)
    elif extension == ".parquet":
        pq.write_table(pa.table(dict(zip(HEADER, map(list, zip(*rows))))), path)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
                    for name, value in zip(HEADER, row)})).SerializeToString())


@pytest.mark.parametrize("extension", [".csv", ".parquet", ".tfrecord"])
def test_the_newest_span_is_read_and_named(tmp_path, extension):
    write_span(tmp_path, 2, extension, users=2)
    write_span(tmp_path, 10, extension, users=4)
    write_rows(tmp_path / "items.csv", ["item_id", "category_id"], [("i1", "c1"), ("i99", "c1")])
    patterns = {"events": str(tmp_path / ("log/day-{SPAN}/*" + extension)), "catalog": str(tmp_path / "items.csv")}
    artifact, = run(tmp_path, **patterns)
    assert count(artifact, "train") == 4
    assert spans(tmp_path) == [10]
    assert run(tmp_path, **patterns) == [artifact]

    write_span(tmp_path, 11, extension, users=3)
    assert count(run(tmp_path, **patterns)[1], "train") == 3
    assert spans(tmp_path) == [10, 11]

    write_rows(tmp_path / "items.csv", ["item_id", "category_id"], [("i1", "c1"), ("i99", "c1"), ("i98", "c1")])
    with mock.patch.object(EventExampleGenExecutor, "Do", return_value=None):  # that it runs is all that is asked
        assert len(run(tmp_path, **patterns)) == 3


def spans(directory):
    store = metadata.sqlite_metadata_connection_config(str(directory / "metadata.sqlite"))
    with metadata.Metadata(store) as handle:
        found = handle.store.get_artifacts_by_type("Examples")
    return [int(one.custom_properties["span"].int_value or one.custom_properties["span"].string_value) for one in found]


def test_spans_that_do_not_agree_are_refused(tmp_path):
    write_span(tmp_path, 2, ".csv", users=2)
    write_rows(tmp_path / "items-3.csv", ["item_id", "category_id"], [("i1", "c1")])
    with pytest.raises(ValueError, match="Latest span should be the same for each split"):
        run(tmp_path, events=str(tmp_path / "log/day-{SPAN}/part.csv"), catalog=str(tmp_path / "items-{SPAN}.csv"))
    with pytest.raises(ValueError, match=r"Cannot find matching for split events based on .*nowhere-\{SPAN\}\.csv"):
        run(tmp_path, events=str(tmp_path / "nowhere-{SPAN}.csv"))
