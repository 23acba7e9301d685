"""From an event log to a pushed servable: TFX components, Beam transforms, the local runner."""

import ulim_tf  # noqa: F401  selects Keras 2 before any module here imports TensorFlow
