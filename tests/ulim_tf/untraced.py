"""Short trainings without the time that tracing their steps takes."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import warnings
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Here the steps of a training are run without tracing them, which takes longer than a few small steps."""
    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*this option does not apply to tf.data functions")
            yield
    finally:
        tf.config.run_functions_eagerly(False)
