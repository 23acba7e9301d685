"""Time and memory of methods in one process, with one thread."""

import ctypes
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from benchmarks.ann.index import Search

Built = TypeVar("Built")


def use_one_core() -> None:
    """Before TensorFlow has started: one core for this process, and one thread for each library."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # ScaNN's own threads are as many as there are cores
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    threadpool_limits(1)  # OpenMP, as FAISS has it, and OpenBLAS


def medians(searches: Mapping[str, Sequence[Search]], rounds: int) -> dict[str, float]:
    """Median seconds of a call. In each round every method makes all of its calls, so that a slow spell hits all."""
    seconds: dict[str, list[float]] = {method: [] for method in searches}
    for _ in range(rounds):
        for method, calls in searches.items():
            for call in calls:
                start = time.perf_counter()
                call()
                seconds[method].append(time.perf_counter() - start)
    return {method: float(np.median(times)) for method, times in seconds.items()}


def resident_growth(build: Callable[[], Built]) -> tuple[Built, int]:
    """What `build` gives, and by how many bytes the resident memory of this process grew."""
    before = _resident()
    built = build()
    return built, _resident() - before


def _resident() -> int:
    ctypes.CDLL(None).malloc_trim(0)  # what was freed counts until it is given back
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
