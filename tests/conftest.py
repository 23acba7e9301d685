"""Selects Keras 2 before any test module imports TensorFlow, and silences the start-up notes, as the commands do."""

import ulim_tf.quiet  # noqa: F401
