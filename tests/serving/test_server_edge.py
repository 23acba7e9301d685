"""What stands around the answers: merged requests, metrics, health, reflection, warm-up, TLS, limits."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import concurrent.futures
import contextlib
import logging
import re
import socket
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    session_service_pb2,
)

from serving import warmup
from serving.client import Client, History
from serving.server.__main__ import main
from serving.server.batching import BatchingParameters
from serving.server.process import CONNECT_OFTEN, wait_until_served
from serving.server.served_model import Patience
from serving.server.tls import read_credentials
from tests.serving import in_process
from tests.serving.certificates import Authority
from tests.serving.toy_servable import ToyServable

START_SECONDS = 60
METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture(autouse=True)
def streams_let_go():
    """The command logs to the streams of the moment, which a test's capture closes."""
    yield
    logging.getLogger("serving").handlers.clear()


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    base = tmp_path_factory.mktemp("ulim")
    ToyServable(1).save(str(base / "1"))
    return base


@contextlib.contextmanager
def running(versions, **options):
    """A server that serves: a stub of its PredictionService, and its REST host and port."""
    with in_process.run(versions, **options) as (target, rest), grpc.insecure_channel(target) as channel:
        wait_until_served(target, START_SECONDS)
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel), rest


def ask(stub, number: int, length: int = 1, rows: int = 1):
    """Asks about `rows` users whose last event was `number` at time `number`, and checks that the answer is theirs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ulim"
    request.inputs["item_id"].CopyFrom(tf.make_tensor_proto(
        [[f"before {number}"] * (length - 1) + [f"item {number}"]] * rows, tf.string, [rows, length]))
    request.inputs["timestamp"].CopyFrom(tf.make_tensor_proto(
        [[1] * (length - 1) + [number]] * rows, tf.int64, [rows, length]))
    request.inputs["length"].CopyFrom(tf.make_tensor_proto([length] * rows, tf.int32))
    request.inputs["now"].CopyFrom(tf.make_tensor_proto([0] * rows, tf.int64))
    answer = stub.Predict(request, timeout=30).outputs
    third = b"v1-c" if length > 1 else b""
    assert list(answer["item_id"].string_val) == [f"item {number}".encode(), b"v1-b", third] * rows
    assert list(answer["score"].float_val) == [number, number - 0.5, number - 1] * rows


def page(rest: str, path: str = METRICS) -> str:
    with urllib.request.urlopen(f"http://{rest}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()


def metric(text: str, name: str, **labels: str) -> float:
    """The one series of that name with these labels."""
    found = [line.rpartition(" ")[2] for line in text.splitlines() if re.match(re.escape(name) + r"[ {]", line)
             and all(f'{label}="{value}"' in line for label, value in labels.items())]
    [value] = found or ["0"]
    return float(value)


# Batching -----------------------------------------------------------------------------------------------------------


def test_sixteen_clients_take_far_fewer_runs_than_requests_and_each_gets_its_own(versions):
    requests = 800
    with running(versions, metrics_path=METRICS, batching=BatchingParameters(
            max_batch_size=16, batch_timeout_micros=20_000, pad_variable_length_inputs=True)) as (stub, rest):
        ask(stub, 7)
        before = metric(page(rest), ":tensorflow:core:graph_runs")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for done in [pool.submit(ask, stub, number, 1 + number % 9) for number in range(2, requests + 2)]:
                done.result()
        text = page(rest)
    runs = metric(text, ":tensorflow:core:graph_runs") - before
    assert requests / 16 <= runs <= requests / 4
    assert metric(text, ":tensorflow:serving:request_count", model_name="ulim", status="OK") == requests + 1
    assert metric(text, ":tensorflow:serving:batching_session:queuing_latency_count") == requests + 1


def test_a_new_version_is_swapped_in_and_no_batch_mixes_two(tmp_path):
    for version in (1, 2):
        ToyServable(version).save(str(tmp_path / f"made-{version}"))
    (tmp_path / "made-1").rename(tmp_path / "1")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ulim"
    for name, proto in (("item_id", tf.make_tensor_proto([["a", "b"]])),
                        ("timestamp", tf.make_tensor_proto([[1, 2]], tf.int64)),
                        ("length", tf.make_tensor_proto([2], tf.int32)), ("now", tf.make_tensor_proto([0], tf.int64))):
        request.inputs[name].CopyFrom(proto)
    answered, swapped = [], threading.Event()

    def ask_on(stub):
        while not swapped.is_set():
            answer = stub.Predict(request, timeout=30)
            answered.append((answer.model_spec.version.value, answer.outputs["item_id"].string_val[1].decode()))

    batching = BatchingParameters(max_batch_size=8, batch_timeout_micros=2_000)
    with running(tmp_path, batching=batching, patience=Patience(0.05)) as (stub, _), \
            concurrent.futures.ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_on, stub) for _ in range(8)]
        (tmp_path / "made-2").rename(tmp_path / "2")
        deadline = time.monotonic() + START_SECONDS
        while (2, "v2-b") not in answered and time.monotonic() < deadline:
            time.sleep(0.05)
        swapped.set()
        for one in asking:
            one.result()
    assert set(answered) == {(1, "v1-b"), (2, "v2-b")}


def test_a_signature_without_a_batch_is_run_by_itself(versions):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ulim", "total"
    request.inputs["value"].CopyFrom(tf.make_tensor_proto([1.5, 2.0]))
    request.inputs["flag"].CopyFrom(tf.make_tensor_proto([True, False]))
    batching = BatchingParameters(max_batch_size=16, batch_timeout_micros=60_000_000)
    with running(versions, batching=batching) as (stub, _):
        assert list(stub.Predict(request, timeout=10).outputs["sum"].float_val) == [3.5]


def test_a_bad_request_does_not_fail_those_beside_it(versions):
    bad = predict_pb2.PredictRequest()
    bad.model_spec.name = "ulim"
    bad.inputs["item_id"].CopyFrom(tf.make_tensor_proto([["a"]]))
    with running(versions, batching=BatchingParameters(max_batch_size=8, batch_timeout_micros=20_000)) as (stub, _), \
            concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, stub, number) if number % 2 else pool.submit(stub.Predict, bad, 30)
                 for number in range(80)]
        for number, one in enumerate(asked):
            if number % 2:
                one.result()
            else:
                assert one.exception().code() == grpc.StatusCode.INVALID_ARGUMENT


# Metrics ------------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_model_and_outcome_under_tf_servings_names(versions):
    with running(versions, metrics_path="/m") as (stub, rest):
        ask(stub, 5)
        ask(stub, 5)
        for name in ("ulim", "made-up", "made-up-too"):
            with pytest.raises(grpc.RpcError):
                stub.Predict(predict_pb2.PredictRequest(model_spec={"name": name}), timeout=10)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://{rest}/v1/models/ulim:predict", b"{}", timeout=10)
        text = page(rest, "/m")
    count = ":tensorflow:serving:request_count"
    assert f"# TYPE {count} counter\n" in text
    assert metric(text, count, model_name="ulim", status="OK") == 2
    assert metric(text, count, model_name="ulim", status="INVALID_ARGUMENT") == 1
    assert metric(text, count, model_name="", status="NOT_FOUND") == 2
    assert metric(text, count, model_name="", status="INVALID_ARGUMENT") == 1
    assert "made-up" not in text
    latency = ":tensorflow:serving:request_latency"
    labels = {"model_name": "ulim", "API": "Predict", "entrypoint": "GRPC"}
    assert f"# TYPE {latency} histogram\n" in text
    assert metric(text, latency + "_count", **labels) == 2
    assert metric(text, latency + "_bucket", le="+Inf", **labels) == 2
    assert 0 < metric(text, latency + "_sum", **labels) < 20e6  # microseconds
    assert metric(text, ":tensorflow:core:graph_runs") == 2
    assert metric(text, ":tensorflow:cc:saved_model:load_attempt_count", model_path=f"{versions}/1",
                  status="success") == 1
    assert "_created" not in text


def test_metrics_are_read_where_the_file_says_and_nowhere_without_it(versions):
    with running(versions) as (_, rest), pytest.raises(urllib.error.HTTPError) as refused:
        page(rest)
    assert refused.value.code == 400


# Health and reflection ----------------------------------------------------------------------------------------------


def status_of(stub, service: str) -> str:
    return health_pb2.HealthCheckResponse.ServingStatus.Name(
        stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService"])
def test_health_follows_the_model_and_the_drain(tmp_path, versions, service):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"not a SavedModel")
    seen = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        target, _ = server.enter_context(in_process.run(tmp_path, patience=Patience(0.05)))
        channel = stack.enter_context(grpc.insecure_channel(target, CONNECT_OFTEN))
        health = health_pb2_grpc.HealthStub(channel)
        grpc.channel_ready_future(channel).result(START_SECONDS)  # a version has failed to load
        assert status_of(health, service) == "NOT_SERVING"
        watching = health.Watch(health_pb2.HealthCheckRequest(service=service))
        seen.append(next(watching).status)
        (tmp_path / "2").symlink_to(versions / "1")
        seen.append(next(watching).status)
        assert status_of(health, service) == "SERVING"
        start = time.monotonic()
        server.close()
        assert time.monotonic() - start < 10  # one who watches does not hold up the drain
        seen += [answer.status for answer in watching]
    status = health_pb2.HealthCheckResponse
    assert seen == [status.NOT_SERVING, status.SERVING, status.NOT_SERVING]


def test_health_of_a_service_that_is_not_here(versions):
    with in_process.run(versions) as (target, _), grpc.insecure_channel(target) as channel:
        wait_until_served(target, START_SECONDS)
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            status_of(health, "no.such.Service")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        watching = health.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"))
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watching.cancel()


def test_reflection_lists_the_services_and_describes_them(versions):
    asked = [reflection_pb2.ServerReflectionRequest(list_services=""),
             reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService")]
    with in_process.run(versions) as (target, _), grpc.insecure_channel(target) as channel:
        wait_until_served(target, START_SECONDS)
        listed, described = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(asked), timeout=10)
    assert {one.name for one in listed.list_services_response.service} == {
        "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection"}
    assert b"PredictResponse" in described.file_descriptor_response.file_descriptor_proto[0]


# Warm-up ------------------------------------------------------------------------------------------------------------


class Examples(tf.Module):
    """Takes serialized examples whose n is positive."""

    def save(self, directory: str) -> None:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def add(inputs):
            parsed = tf.io.parse_example(inputs, {"n": tf.io.FixedLenFeature([], tf.int64),
                                                  "m": tf.io.FixedLenFeature([], tf.int64, -1)})
            with tf.control_dependencies([tf.debugging.assert_greater(parsed["n"], tf.constant(0, tf.int64))]):
                return {"n": parsed["n"] + parsed["m"]}

        tf.saved_model.save(self, directory, signatures={"serving_default": add.get_concrete_function()})


def example(**values: int) -> tf.train.Example:
    return tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])) for name, value in values.items()}))


def classify(*values: int) -> prediction_log_pb2.PredictionLog:
    request = classification_pb2.ClassificationRequest()
    request.input.example_list.examples.extend(example(n=value) for value in values)
    return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))


def with_context(n: int, m: int) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.input.example_list_with_context.context.CopyFrom(example(n=n))
    log.regress_log.request.input.example_list_with_context.examples.append(example(m=m))
    return log


def multi_inference(n: int) -> prediction_log_pb2.PredictionLog:
    request = inference_pb2.MultiInferenceRequest(tasks=[inference_pb2.InferenceTask(), inference_pb2.InferenceTask()])
    request.input.example_list.examples.append(example(n=n))
    return prediction_log_pb2.PredictionLog(multi_inference_log=prediction_log_pb2.MultiInferenceLog(request=request))


def write_warmup(version, *records: bytes) -> None:
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def loaded(base, **options) -> tuple[str, str, str]:
    """The state and error of the version in `base`, and the metrics."""
    with in_process.run(base, metrics_path=METRICS, **options) as (target, rest), \
            grpc.insecure_channel(target, CONNECT_OFTEN) as channel:
        grpc.channel_ready_future(channel).result(START_SECONDS)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "ulim"
        [status] = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
            request, timeout=10).model_version_status
        return type(status).State.Name(status.state), status.status.error_message, page(rest)


def test_a_version_answers_its_warmup_requests_before_it_is_available(tmp_path):
    ToyServable(1).save(str(tmp_path / "1"))
    warmup.write(str(tmp_path / "1"), ["serving_default", "predict_category"], [History(), History(["milk"], [3])])
    state, _, text = loaded(tmp_path)
    # For each of two signatures: the two histories, and both together.
    assert (state, metric(text, ":tensorflow:core:graph_runs")) == ("AVAILABLE", 6)
    assert metric(text, ":tensorflow:serving:model_warmup_latency_count", model_path=f"{tmp_path}/1", status="OK") == 1
    state, _, text = loaded(tmp_path, warm_up=False)
    assert (state, metric(text, ":tensorflow:core:graph_runs")) == ("AVAILABLE", 0)
    assert ":tensorflow:serving:model_warmup_latency_count" not in text


def test_logs_of_every_kind_of_request_are_replayed(tmp_path):
    Examples().save(str(tmp_path / "1"))
    nothing = prediction_log_pb2.PredictionLog()
    write_warmup(tmp_path / "1", *(log.SerializeToString() for log in (
        classify(1, 2), with_context(n=1, m=5), multi_inference(3), nothing)))
    state, _, text = loaded(tmp_path)
    assert (state, metric(text, ":tensorflow:core:graph_runs")) == ("AVAILABLE", 4)  # two of them multi-inference


SESSION_RUN = prediction_log_pb2.PredictionLog(session_run_log=prediction_log_pb2.SessionRunLog(
    request=session_service_pb2.SessionRunRequest()))


@pytest.mark.parametrize(("records", "error"), [
    ([classify(1), classify(0)], "warmup record 2 of .*tf_serving_warmup_requests"),
    ([classify()], "Input is empty."),
    ([SESSION_RUN], "Unsupported log_type for warmup: session_run_log"),
    ([b"\xff\xff\xff"], "Failed to parse warmup record 1 from "),
    ([classify(1)] * 1001, r"Number of warmup records exceeds the maximum \(1000\)"),
    (None, "Please verify your warmup data is in TFRecord format."),
])
def test_a_warmup_request_that_fails_fails_the_version(tmp_path, records, error):
    Examples().save(str(tmp_path / "1"))
    write_warmup(tmp_path / "1", *(record if isinstance(record, bytes) else record.SerializeToString()
                                   for record in records or []))
    if records is None:
        (tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord, for certain")
    state, message, _ = loaded(tmp_path)
    assert state == "END"
    assert re.search(error, message), message


# TLS ----------------------------------------------------------------------------------------------------------------


def ssl_config(file, key: bytes, certificate: bytes, authority: bytes = b"", client_verify: bool = False) -> str:
    def quoted(pem: bytes) -> str:
        return '"' + pem.decode().replace("\n", "\\n") + '"'

    file.write_text(f"server_key: {quoted(key)} server_cert: {quoted(certificate)} custom_ca: {quoted(authority)} "
                    f"client_verify: {str(client_verify).lower()}")
    return str(file)


@pytest.mark.parametrize("mutual", [False, True])
def test_clients_that_trust_the_server_and_whom_it_trusts_are_answered(tmp_path, versions, mutual):
    authority, stranger = Authority(), Authority()
    file = ssl_config(tmp_path / "ssl.config", *authority.issue("server"), authority.certificate, mutual)
    roots = authority.certificate
    client_key, client_certificate = authority.issue("client")
    foreign_key, foreign_certificate = stranger.issue("client")
    with in_process.run(versions, credentials=read_credentials(file)) as (target, _):
        def asked(credentials) -> bool:
            with Client(target, credentials=credentials, timeout=5) as client:
                try:
                    return client.recommend(History(["milk"], [3]))[0].item_id == "milk"
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.UNAVAILABLE
                    return False

        ours = grpc.ssl_channel_credentials(roots, client_key, client_certificate)
        deadline = time.monotonic() + START_SECONDS
        while not asked(ours) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert asked(ours)
        assert asked(grpc.ssl_channel_credentials(roots)) != mutual
        assert asked(grpc.ssl_channel_credentials(roots, foreign_key, foreign_certificate)) != mutual
        assert not asked(grpc.ssl_channel_credentials(stranger.certificate, client_key, client_certificate))
        assert not asked(None)


def test_an_ssl_config_that_cannot_be_used_ends_the_start(tmp_path, capsys):
    authority = Authority()
    key, certificate = authority.issue("server")
    other_key, _ = authority.issue("other")
    for file, message in (
            (ssl_config(tmp_path / "1", b"junk", certificate), "server_key must be a private key"),
            (ssl_config(tmp_path / "2", key, b""), "server_cert its certificate chain"),
            (ssl_config(tmp_path / "3", other_key, certificate), "server_key must be a private key"),
            (ssl_config(tmp_path / "4", key, certificate, client_verify=True), "client_verify needs custom_ca"),
            (str(tmp_path / "missing"), "missing: No such file or directory")):
        assert main([f"--model_base_path={tmp_path}", f"--ssl_config_file={file}"]) == 1
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert line.startswith("error: --ssl_config_file ") and message in line


# Flags and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "message"), [
    (["--batching_parameters_file=F"], "--batching_parameters_file is of no use without --enable_batching"),
    (["--enable_batching", "--batching_parameters_file=F"], "max_batch_size must be at least 1, got 0"),
    (["--monitoring_config_file=F"], "--monitoring_config_file must name a MonitoringConfig"),
])
def test_a_configuration_that_cannot_be_ends_the_start(tmp_path, capsys, flags, message):
    (tmp_path / "F").write_text("max_batch_size { value: 0 }")
    given = [flag.replace("=F", f"={tmp_path}/F") for flag in flags]
    assert main([f"--model_base_path={tmp_path}", *given]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line


@pytest.mark.parametrize(("flag", "message"), [
    ("--enable_batching=perhaps", "must be true or false, got perhaps"),
    ("--grpc_channel_arguments=grpc.max_receive_message_length", "takes NAME=VALUE,.. pairs"),
    ("--rest_api_num_threads=0", "must be a whole number, 1 or more, got 0"),
    ("--rest_api_timeout_in_ms=-5", "must be a whole number, 1 or more, got -5"),
])
def test_a_flag_that_cannot_be_is_refused(tmp_path, capsys, flag, message):
    with pytest.raises(SystemExit):
        main([f"--model_base_path={tmp_path}", flag])
    assert message in capsys.readouterr().err


def test_larger_messages_than_the_channel_arguments_allow_are_refused(versions):
    limit = [("grpc.max_receive_message_length", 10_000)]
    with running(versions, channel_arguments=limit) as (stub, _):
        ask(stub, 3, length=100)
        with pytest.raises(grpc.RpcError) as refused:
            ask(stub, 3, length=1000)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        ask(stub, 3)


def exchange(rest: str, sent: bytes, seconds: float = 10) -> bytes:
    """All that the server says to these bytes before it closes the connection."""
    host, _, port = rest.partition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(sent)
        said = b""
        while part := connection.recv(65_536):
            said += part
    return said


def test_clients_that_dawdle_are_cut_off(versions):
    with running(versions, rest_timeout=0.5) as (stub, rest):
        for unfinished in (b"", b"GET /v1/models/ulim HTTP/1.1\r\nHost: x\r\n",
                           b"POST /v1/models/ulim:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
            start = time.monotonic()
            exchange(rest, unfinished)
            assert 0.3 < time.monotonic() - start < 5
        ask(stub, 3)


def test_dawdling_clients_do_not_keep_others_waiting(versions):
    with running(versions, rest_threads=2) as (_, rest), contextlib.ExitStack() as stack:
        host, _, port = rest.partition(":")
        for _ in range(50):
            stack.enter_context(socket.create_connection((host, int(port)))).sendall(b"POST /v1/models/ulim:predict H")
        with urllib.request.urlopen(f"http://{rest}/v1/models/ulim", timeout=5) as answer:
            assert answer.status == 200


def test_a_body_that_is_too_large_is_not_read(versions):
    with running(versions) as (_, rest):
        said = exchange(rest, b"POST /v1/models/ulim:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 70000000\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 400 ")
        chunked = (b"POST /v1/models/ulim:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                   + b"5000000\r\n")
        assert exchange(rest, chunked).startswith(b"HTTP/1.1 400 ")


def test_nothing_but_the_interface_can_be_read(versions, tmp_path):
    (versions / "secret").write_text("secret")
    with running(versions) as (_, rest):
        for path in ("/../secret", "/v1/models/../../secret", "/v1/models/ulim/../secret", "/v1/models/%2e%2e/secret",
                     f"/v1/models/{versions}/secret", "//etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd",
                     "/static/../secret", "/v1/models/ulim/versions/1/../../secret"):
            said = exchange(rest, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert said.split()[1] in (b"400", b"404"), said
            assert b"root:" not in said and b"\r\n\r\nsecret" not in said
