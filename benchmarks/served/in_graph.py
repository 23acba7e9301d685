"""A servable loaded as the embedded server loads it, and called with arrays in this process."""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import functools
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from serving import contract
from serving.server.loader import LoadedModel

WARM_UP = 20
_LEAST_CALLS = 30


class Timing(NamedTuple):
    """Milliseconds of calls, and the most memory that the process had until then."""

    ms: list[float]
    peak_mib: float


def time_calls(directory: str, asked: Sequence[Sequence[Mapping[str, np.ndarray]]], calls: int,
               seconds: float) -> list[Timing]:
    """Loads a servable and calls it, one call after the other.

    Args:
        directory: holds saved_model.pb.
        asked: for each timing, the calls' inputs, taken in turn.
        calls: that are timed, each; fewer where they would take longer than
        seconds: but some.
    """
    model = LoadedModel(directory)
    timings = []
    for inputs in asked:
        ms: list[float] = []
        for number in range(WARM_UP + calls):
            one = inputs[number % len(inputs)]
            ms.append(milliseconds(functools.partial(model.predict, contract.SIGNATURE_RECOMMEND, one)))
            if len(ms) >= WARM_UP + _LEAST_CALLS and sum(ms) > 1000 * seconds:
                break
        timings.append(Timing(ms[WARM_UP:], _peak_mib()))
    model.close()
    return timings


def milliseconds(call: Callable[[], object]) -> float:
    """What a call takes."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
