"""Servables asked in turns by one process, in their graphs or over gRPC: a slow spell is in all of their times."""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import contextlib
import functools
import resource
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from benchmarks.served import requests
from benchmarks.served.in_graph import WARM_UP, Timing, milliseconds
from benchmarks.served.over_grpc import ANY_SIZE, START_SECONDS
from serving import contract
from serving.client import History
from serving.server.loader import LoadedModel
from serving.server.process import serve

GRAPH, GRPC = "graph", "grpc"

_Call = Callable[[int], object]  # of which request


class Asked(NamedTuple):
    """One of those that take turns."""

    path: str  # `GRAPH`: a session in this process; `GRPC`: the embedded server in one of its own
    base_path: Path  # model base path
    histories: Sequence[History]  # taken in turn, one a request


def time_calls(asked: Sequence[Asked], calls: int, turn: int) -> list[Timing]:
    """Calls all of them, again and again. To be called in a process without other children.

    Args:
        asked: which.
        calls: that are timed, each.
        turn: calls of one before it is the next one's turn. With 1, each finds the processor's caches as the others
            left them.
    """
    ms: list[list[float]] = [[] for _ in asked]
    with contextlib.ExitStack() as stack:
        callers = _callers(asked, stack)
        for first in range(0, WARM_UP + calls, turn):
            for call, own in zip(callers, ms):
                own += [milliseconds(functools.partial(call, number))
                        for number in range(first, min(first + turn, WARM_UP + calls))]
    peaks = {path: resource.getrusage(who).ru_maxrss / 1024
             for path, who in ((GRAPH, resource.RUSAGE_SELF), (GRPC, resource.RUSAGE_CHILDREN))}
    return [Timing(own[WARM_UP:], peaks[one.path]) for one, own in zip(asked, ms)]


def _callers(asked: Sequence[Asked], stack: contextlib.ExitStack) -> list[_Call]:
    models: dict[Path, LoadedModel] = {}
    stubs: dict[Path, PredictionServiceStub] = {}
    callers = []
    for path, base_path, histories in asked:
        if path == GRAPH:
            if base_path not in models:
                models[base_path] = LoadedModel(str(base_path / "1"))
                stack.callback(models[base_path].close)
            callers.append(_in_graph(models[base_path], histories))
        else:
            if base_path not in stubs:
                target = stack.enter_context(serve(base_path, START_SECONDS, subprocess.DEVNULL))
                channel = stack.enter_context(grpc.insecure_channel(target, options=ANY_SIZE))
                stubs[base_path] = PredictionServiceStub(channel)
            callers.append(_over_grpc(stubs[base_path], histories))
    return callers


def _in_graph(model: LoadedModel, histories: Sequence[History]) -> _Call:
    inputs = [requests.arrays([one]) for one in histories]
    return lambda number: model.predict(contract.SIGNATURE_RECOMMEND, inputs[number % len(inputs)])


def _over_grpc(stub: PredictionServiceStub, histories: Sequence[History]) -> _Call:
    protos = [requests.proto([one]) for one in histories]
    return lambda number: stub.Predict(protos[number % len(protos)])
