"""Names for the parts of the served graph, as a profiler shows them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import functools
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

HISTORY, ENCODER, PGIN, SEARCH, MERGE = PARTS = ("history", "encoder", "pgin", "search", "merge")

Function = TypeVar("Function", bound=Callable)


def part(name: str) -> Callable[[Function], Function]:
    """The ops of a function stand in a name scope."""
    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def scoped(*args, **kwargs):
            with tf.name_scope(name):
                return function(*args, **kwargs)
        return scoped
    return decorate
