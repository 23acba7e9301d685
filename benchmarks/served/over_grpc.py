"""The embedded server in a process of its own, asked over gRPC by threads of this one."""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import concurrent.futures
import itertools
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.server.process import serve

START_SECONDS = 300
ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class Load(NamedTuple):
    """Clients that ask one request after the other, each as soon as it has its answer."""

    requests: Sequence[PredictRequest]  # taken in turn
    clients: int


class Answers(NamedTuple):
    """What the clients saw."""

    ms: list[float]  # of each request that began and ended inside the time
    seconds: float


class Served(NamedTuple):
    """A server's life."""

    start_seconds: float  # until a version was AVAILABLE
    answers: list[Answers]  # of each load
    peak_mib: float  # of the server's process


def ask(base_path: Path, loads: Sequence[Load], seconds: float, warm_up_seconds: float,
        flags: Sequence[str] = ()) -> Served:
    """Starts a server and puts loads on it, one after the other. To be called in a process without other children.

    Args:
        base_path: model base path.
        loads: what is asked.
        seconds: that each load is timed.
        warm_up_seconds: that each load runs before.
        flags: of the server, beside what it needs.
    """
    start = time.perf_counter()
    with serve(base_path, START_SECONDS, subprocess.DEVNULL, flags=flags) as target:
        started = time.perf_counter() - start
        answers = [_ask(target, load, seconds, warm_up_seconds) for load in loads]
    return Served(started, answers, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def _ask(target: str, load: Load, seconds: float, warm_up_seconds: float) -> Answers:
    first = time.perf_counter() + warm_up_seconds
    last = first + seconds
    with grpc.insecure_channel(target, options=ANY_SIZE) as channel:
        predict = PredictionServiceStub(channel).Predict

        def client(number: int) -> list[float]:
            ms = []
            for request in itertools.islice(itertools.cycle(load.requests), number, None):
                begin = time.perf_counter()
                predict(request)
                end = time.perf_counter()
                if end > last:
                    return ms
                if begin >= first:
                    ms.append(1000 * (end - begin))

        with concurrent.futures.ThreadPoolExecutor(load.clients) as threads:
            ms = [one for answered in threads.map(client, range(load.clients)) for one in answered]
    return Answers(ms, seconds)
