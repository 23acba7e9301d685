"""The Beam steps give the same output in this process, on two worker processes of Beam's local runner, and behind a job
service whose workers a pool starts, as on a Flink or Spark cluster."""

import csv
import json
import os
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components import StatisticsGen
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from tfx_pipeline import beam_arguments, reading
from tfx_pipeline.beam_transforms import Ingest
from tfx_pipeline.config import IngestConfig

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
DAY = 86400
SPLITS = ("train", "eval", "catalog")


class TwoWorkersJob(local_job_service.BeamJob):
    """A job on two workers: the job service leaves `--direct_num_workers` to runners that get a pipeline object."""

    def _invoke_runner(self):
        runner = fn_runner.FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = 2
        return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())


@pytest.fixture(scope="module")
def portable():
    """The flags of a job service and of a pool that starts a process for each worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)  # the pool runs `python`
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        service = local_job_service.LocalJobServicer(beam_job_type=TwoWorkersJob)
        port = service.start_grpc_server()
        pool_address, pool = BeamFnExternalWorkerPoolServicer.start(use_process=True)
        yield (f"--runner=PortableRunner --job_endpoint=localhost:{port} --job_server_timeout=600 "
               f"--environment_type=EXTERNAL --environment_config={pool_address}")
        pool.stop(0)
        service.stop()


@pytest.fixture(scope="module")
def multi_processing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield "--direct_running_mode=multi_processing --direct_num_workers=2"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Three files of events of 40 users, with a malformed row each, and a catalogue that lacks some items."""
    folder, random = tmp_path_factory.mktemp("log"), np.random.default_rng(5)
    header = ["user_id", "item_id", "category_id", "timestamp"]
    for part in range(3):
        user, item, hour = random.integers(0, [[40], [30], [700]], (3, 400))
        rows = [(f"u{u}", f"i{i}", f"c{i % 7}", (h + 1) * 3600) for u, i, h in zip(user, item, hour)]
        rows.append(("", "i1", "c1", DAY))
        if part < 2:
            write_rows(folder / f"events-{part}.csv", header, rows)
        else:
            pq.write_table(pa.table(dict(zip(header, map(list, zip(*rows))))), folder / "events-2.parquet",
                           row_group_size=50)
    write_rows(folder / "items.csv", ["item_id", "category_id", "title"],
               [(f"i{i}", f"c{i % 6}", f"Item {i}") for i in range(25)])
    return folder


def write_rows(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def process_of(_):
    return str(os.getpid())


def ingest(log, directory, arguments):
    """The outputs of Ingest in any order, and the processes that made the training split."""
    directory.mkdir()
    sources = [reading.find(reading.EVENTS, str(log / "events-*"), {}),
               reading.find(reading.CATALOG, str(log / "items.csv"), {})]
    with beam.Pipeline(options=PipelineOptions(beam_arguments.parse(arguments))) as pipeline:
        outputs = pipeline | Ingest(*sources, IngestConfig(holdout_days=4))
        for name in SPLITS:
            outputs[name] | f"Write {name}" >> beam.io.WriteToTFRecord(str(directory / name))
        for name in ("rejected", "summary"):
            outputs[name] | f"Write {name}" >> beam.io.WriteToText(str(directory / name))
        (outputs["train"] | "Process" >> beam.Map(process_of) | beam.Distinct()
         | beam.io.WriteToText(str(directory / "processes")))
    found = {name: sorted(record.numpy() for record in tf.data.TFRecordDataset(paths(directory, name)))
             for name in SPLITS}
    text = {name: "".join(Path(path).read_text() for path in paths(directory, name))
            for name in ("rejected", "summary", "processes")}
    found |= {"rejected": sorted(text["rejected"].splitlines()), "summary": json.loads(text["summary"])}
    return found, {int(process) for process in text["processes"].split()}


def paths(directory, name):
    return [str(path) for path in directory.glob(f"{name}-*-of-*")]


@pytest.fixture(scope="module")
def in_process(log, tmp_path_factory):
    found, processes = ingest(log, tmp_path_factory.mktemp("in_process") / "ingest", "")
    assert processes == {os.getpid()}
    assert found["summary"]["events_rows_read"] == 1203 and len(found["rejected"]) == 3
    assert min(len(found[split]) for split in SPLITS) > 0 and found["summary"]["train_users"] == len(found["train"])
    return found


@pytest.mark.parametrize("runner", ["multi_processing", "portable"])
def test_the_ingest_gives_the_same_on_two_worker_processes(runner, log, in_process, tmp_path, request, monkeypatch):
    assert [len(reading.parts(str(path))) for path in sorted(log.glob("events-*"))] == [1, 1, 1]
    monkeypatch.setattr(reading, "_PART_BYTES", 3_000)
    monkeypatch.setattr(reading, "_PART_ROWS", 100)
    assert [len(reading.parts(str(path))) for path in sorted(log.glob("events-*"))] == [3, 3, 5]
    found, processes = ingest(log, tmp_path / "ingest", request.getfixturevalue(runner))
    assert found == in_process
    assert len(processes) == 2 and os.getpid() not in processes


def statistics(examples, directory, arguments):
    """What StatisticsGen, a step of TFX, finds in the splits of a folder."""
    importer = Importer(str(examples), standard_artifacts.Examples, properties={
        "split_names": json.dumps(SPLITS)}, custom_properties={"file_format": "tfrecords_gzip",
                                                               "payload_format": "FORMAT_TF_EXAMPLE"})
    step = StatisticsGen(importer.with_id("Examples").outputs["result"])
    store = sqlite_metadata_connection_config(str(directory / "metadata.sqlite"))
    LocalDagRunner().run(Pipeline(
        "statistics", str(directory), store, [importer, step], beam_pipeline_args=beam_arguments.parse(arguments)))
    found, = directory.glob("StatisticsGen/statistics/*")
    return {split: by_feature((found / f"Split-{split}/FeatureStats.pb").read_bytes()) for split in SPLITS}


def by_feature(serialized):
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(serialized)
    return {tuple(feature.path.step): feature for dataset in found.datasets for feature in dataset.features}


@pytest.fixture(scope="module")
def examples(in_process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for split in SPLITS:
        (folder / f"Split-{split}").mkdir()
        with tf.io.TFRecordWriter(str(folder / f"Split-{split}/part-00000-of-00001.gz"), "GZIP") as writer:
            for record in in_process[split]:
                writer.write(record)
    return folder


@pytest.fixture(scope="module")
def statistics_in_process(examples, tmp_path_factory):
    return statistics(examples, tmp_path_factory.mktemp("statistics"), "")


@pytest.mark.parametrize("runner", ["multi_processing", "portable"])
def test_a_step_of_tfx_gives_the_same_on_two_worker_processes(runner, examples, statistics_in_process, tmp_path,
                                                              request):
    found = statistics(examples, tmp_path, request.getfixturevalue(runner))
    assert found["train"][("event_item_id",)].string_stats.common_stats.num_non_missing > 0
    assert found == statistics_in_process
