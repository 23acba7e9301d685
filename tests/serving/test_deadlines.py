"""Requests whose time is up, or whose client has gone, are not run."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import time

import grpc
import numpy as np
import pytest

from serving.server.errors import ServingError
from serving.server.grpc_errors import refusing, seconds_left
from serving.server.loader import LoadedModel
from tests.serving.toy_servable import ToyServable


class Aborted(Exception):
    pass


class Context:
    """Of a call, as gRPC gives it to a handler."""

    def __init__(self, left: float | None, active: bool = True):
        self._left, self._active = left, active

    def is_active(self) -> bool:
        return self._active

    def time_remaining(self) -> float | None:
        return self._left

    def abort(self, code, message):
        raise Aborted(code, message)


@pytest.mark.parametrize("context", [Context(0.0), Context(5.0, active=False)])
def test_a_request_whose_time_is_up_is_not_begun(context):
    begun = False
    with pytest.raises(Aborted) as aborted, refusing(context):
        begun = True
    assert aborted.value.args == (grpc.StatusCode.DEADLINE_EXCEEDED,
                                  "The deadline passed before the request was begun.")
    assert not begun


@pytest.mark.parametrize(("left", "expected"), [(None, None), (float("inf"), None), (9.2e15, None), (2.5, 2.5)])
def test_a_request_in_time_is_begun_with_what_is_left(left, expected):
    with refusing(Context(left)):
        assert seconds_left(Context(left)) == expected


def test_a_run_ends_with_its_time(tmp_path):
    ToyServable(1).save(str(tmp_path / "1"))
    model = LoadedModel(str(tmp_path / "1"))
    began = time.monotonic()
    with pytest.raises(ServingError) as refused:
        model.predict("spin", {"turns": np.array(2**40)}, timeout=0.2)
    assert refused.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 30
    assert model.predict("spin", {"turns": np.array(3)}, timeout=60) == {"turned": 3}
    model.close()
