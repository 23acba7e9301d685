"""Selects Keras 2 before any test module imports TensorFlow, and silences TensorFlow's start-up log."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ulim_tf  # noqa: F401
