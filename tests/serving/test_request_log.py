"""The log of requests: what TensorFlow reads of it, what is sampled, files, failures, and histories back."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import asyncio
import logging
import threading
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.client import AsyncClient, Client, Filters, History
from serving.client.messages import PredictResponse
from serving.client.request_log import RequestLog, read_histories
from serving.client.requests import encode_items_request, predict_request
from tests.serving import scripted_server
from tests.serving.test_client_calls import ANSWERS

ASKED = History(["tea", "käse"], [10, 20], now=30, event_types=["buy", "view"], profile={"country": "nl"},
                user_id="Jane Doe")


def files(folder) -> list[str]:
    return sorted(str(file) for file in folder.glob("*.tfrecord"))


def offer(log: RequestLog, count: int) -> None:
    for number in range(count):
        log.offer(predict_request([History([f"{number}"], [number])], "serving_default"), PredictResponse())


def items(read) -> list[str]:
    return [history.item_ids[0] for history in read]


def test_what_was_asked_is_logged_as_tensorflow_serving_logs_it(tmp_path):
    before = int(time.time())
    with (scripted_server.serve(ANSWERS) as server, RequestLog(f"{tmp_path}/logs/asked", rate=1) as log,
          Client(server.target, request_log=log) as client):
        client.recommend(ASKED)
        [file] = files(tmp_path / "logs")
        [record] = [prediction_log_pb2.PredictionLog.FromString(record.numpy())
                    for record in tf.data.TFRecordDataset(file)]
        assert record.predict_log.request == server.requests[0]
        assert not record.predict_log.HasField("response")
        assert record.log_metadata.model_spec.version.value == 7
        assert record.log_metadata.sampling_config.sampling_rate == 1
        assert before <= record.log_metadata.timestamp_secs <= time.time()
        assert b"Jane" not in Path(file).read_bytes()


def test_histories_come_back(tmp_path):
    with RequestLog(f"{tmp_path}/asked", rate=1) as log:
        log.offer(predict_request([ASKED, History(event_types=[], profile={"country": "de"})], "retrieve",
                                  filters=[Filters(limit=3)] * 2), PredictResponse())
        log.offer(encode_items_request(["tea"]), PredictResponse())
        log.offer(predict_request([History(["rum"], [5])], "predict_category"), PredictResponse())
    assert list(read_histories(files(tmp_path))) == [
        History(["tea", "käse"], [10, 20], 30, ["buy", "view"], {"country": "nl"}),
        History([], [], 0, [], {"country": "de"}), History(["rum"], [5])]


def test_what_tensorflow_wrote_is_read(tmp_path):
    with tf.io.TFRecordWriter(f"{tmp_path}/a.tfrecord") as writer:
        record = prediction_log_pb2.PredictionLog()
        record.predict_log.request.inputs["item_id"].CopyFrom(tf.make_tensor_proto([["tea", "pad"]]))
        record.predict_log.request.inputs["timestamp"].CopyFrom(tf.make_tensor_proto([[5, 0]], tf.int64))
        record.predict_log.request.inputs["length"].CopyFrom(tf.make_tensor_proto([1]))
        record.predict_log.request.inputs["now"].CopyFrom(tf.make_tensor_proto([0], tf.int64))
        writer.write(record.SerializeToString())
        writer.write(prediction_log_pb2.PredictionLog().SerializeToString())
    assert list(read_histories(files(tmp_path))) == [History(["tea"], [5])]


def test_the_asyncio_client_logs_too_and_a_refused_request_is_not_logged(tmp_path):
    async def ask(target, log):
        async with AsyncClient(target, request_log=log) as client:
            await client.recommend(ASKED)
            with pytest.raises(Exception, match="INVALID_ARGUMENT"):
                await client.recommend(History())

    with scripted_server.serve(ANSWERS) as server, RequestLog(f"{tmp_path}/asked", rate=1) as log:
        server.refusals = [grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT]
        asyncio.run(ask(server.target, log))
    assert items(read_histories(files(tmp_path))) == ["tea"]


def test_a_seed_draws_the_same_sample_of_the_rate(tmp_path):
    samples = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        with RequestLog(f"{tmp_path}/{name}/asked", rate=0.3, seed=seed) as log:
            offer(log, 2_000)
        samples.append(items(read_histories(files(tmp_path / name))))
    assert samples[0] == samples[1] != samples[2]
    # Four standard deviations of a binomial.
    assert all(abs(len(sample) - 600) < 4 * (2_000 * 0.3 * 0.7) ** 0.5 for sample in samples)


def test_files_are_rotated_by_size_and_a_restart_goes_on_beside_them(tmp_path):
    for _ in range(2):
        with RequestLog(f"{tmp_path}/asked", rate=1, max_bytes=1_000) as log:
            offer(log, 30)
    assert files(tmp_path)[0].endswith("asked-00000.tfrecord") and len(files(tmp_path)) >= 4
    sizes = [tf.io.gfile.stat(file).length for file in files(tmp_path)]
    assert max(sizes) < 1_500
    assert items(read_histories(files(tmp_path))) == [f"{number}" for number in range(30)] * 2


def test_threads_do_not_mix_their_records(tmp_path):
    with RequestLog(f"{tmp_path}/asked", rate=1, max_bytes=10_000) as log:
        threads = [threading.Thread(target=offer, args=(log, 200)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(items(read_histories(files(tmp_path))), key=int) == [f"{n}" for n in range(200) for _ in range(4)]


def test_a_log_that_cannot_be_written_costs_no_answer_and_is_told_once(tmp_path, caplog):
    with (scripted_server.serve(ANSWERS) as server, RequestLog(f"{tmp_path}/asked", rate=1) as log,
          Client(server.target, request_log=log) as client):
        client.recommend(History(["first"], [1]))

        class Full:
            """A disk with ten bytes left."""

            def __init__(self, file):
                self._file = file

            def __getattr__(self, name):
                return getattr(self._file, name)

            def write(self, content):
                return self._file.write(content[:10])

        whole = log._file
        log._file = Full(whole)
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                assert client.recommend(ASKED)[0].item_id == "tea"
        assert log.lost == 3
        assert [one.getMessage() for one in caplog.records] == [
            f"requests are not logged to {tmp_path}/asked: no room for a whole record"]
        log._file = whole
        client.recommend(History(["last"], [1]))
    assert items(read_histories(files(tmp_path))) == ["first", "last"]


def test_a_file_whose_writer_was_killed_is_read_up_to_there(tmp_path, caplog):
    with RequestLog(f"{tmp_path}/asked", rate=1) as log:
        offer(log, 3)
    [file] = files(tmp_path)
    whole = Path(file).read_bytes()
    record = len(whole) // 3
    for cut in (1, 4, record - 5, record - 14):
        caplog.clear()
        Path(file).write_bytes(whole[:-cut])
        assert items(read_histories([file])) == ["0", "1"]
        assert caplog.messages == [f"{file} ends inside a record; it was read up to there"]


@pytest.mark.parametrize(("place", "message"), [(0, "a record's length must fit its checksum, byte 0 is wrong"),
                                                (14, "a record must fit its checksum, that before byte ")])
def test_a_damaged_file_is_refused(tmp_path, place, message):
    with RequestLog(f"{tmp_path}/asked", rate=1) as log:
        offer(log, 1)
    [file] = files(tmp_path)
    content = bytearray(Path(file).read_bytes())
    content[place] ^= 1
    Path(file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} must be a TFRecord file of PredictionLog: {message}"):
        list(read_histories([file]))


def test_records_of_something_else_are_refused(tmp_path):
    with tf.io.TFRecordWriter(f"{tmp_path}/a.tfrecord") as writer:
        writer.write(b"\xff\xff")
    with pytest.raises(ValueError, match=r"a.tfrecord must be a TFRecord file of PredictionLog: "):
        list(read_histories(files(tmp_path)))


@pytest.mark.parametrize(("settings", "message"), [
    ({"rate": 0}, "rate must be above 0 and at most 1, got 0"), ({"rate": 1.5}, "got 1.5"),
    ({"max_bytes": 0}, "max_bytes must be at least 1, got 0")])
def test_settings_must_make_sense(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        RequestLog(f"{tmp_path}/asked", **settings)
