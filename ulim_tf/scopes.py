"""Names for the parts of the served graph, as a profiler shows them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tensorflow as tf

HISTORY, ENCODER, PGIN, SEARCH, MERGE = PARTS = ("history", "encoder", "pgin", "search", "merge")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def part(name: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """The ops of a function stand in a name scope."""
    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @functools.wraps(function)
        def scoped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with tf.name_scope(name):
                return function(*args, **kwargs)
        return scoped
    return decorate
