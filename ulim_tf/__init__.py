"""ULIM: candidate retrieval from a user's whole history, by category, in TensorFlow.

    import ulim_tf as ulim

    log, held_out = ulim.split_by_time(events, catalog)
    config = ulim.UlimConfig()
    model = ulim.UlimModel(config, log.items, log.categories)

`__all__` is the public interface, and docs/api.md its reference. Its names are imported where they are first used, so
that importing the package does not import TensorFlow; it selects Keras 2 (`tf_keras`), which TensorFlow Recommenders,
TFT and TFMA need.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ulim_tf import co_purchase, config, data, evaluate, features
    from ulim_tf.config import (
        FeaturesConfig,
        HistoryConfig,
        LossConfig,
        ModelConfig,
        RetrievalConfig,
        TrainingConfig,
        UlimConfig,
        VocabularyConfig,
    )
    from ulim_tf.event_log import EventLog, HeldOut, split_by_time
    from ulim_tf.exact_scores import ExactScorer, Scores
    from ulim_tf.model import LongInterests, UlimModel
    from ulim_tf.optimizers import LazyAdam

__version__ = "0.1.0"

__all__ = [
    "EventLog", "ExactScorer", "FeaturesConfig", "HeldOut", "HistoryConfig", "LazyAdam", "LongInterests", "LossConfig",
    "ModelConfig", "RetrievalConfig", "Scores", "TrainingConfig", "UlimConfig", "UlimModel", "VocabularyConfig",
    "co_purchase", "config", "data", "evaluate", "features", "split_by_time",
]

_SWITCH = "TF_USE_LEGACY_KERAS"

if os.environ.get(_SWITCH) != "1":
    if "tensorflow" in sys.modules:
        raise ImportError(
            f"ulim_tf needs {_SWITCH}=1 before TensorFlow is first imported, but tensorflow is already imported "
            f"and {_SWITCH} is {os.environ.get(_SWITCH)!r}. Import ulim_tf before tensorflow, or set {_SWITCH}=1 "
            "in the environment and restart Python."
        )
    os.environ[_SWITCH] = "1"

if not TYPE_CHECKING:  # a checker would take any name for one of the package's
    _NAMES = {
        "config": ("FeaturesConfig", "HistoryConfig", "LossConfig", "ModelConfig", "RetrievalConfig", "TrainingConfig",
                   "UlimConfig", "VocabularyConfig"),
        "event_log": ("EventLog", "HeldOut", "split_by_time"),
        "exact_scores": ("ExactScorer", "Scores"),
        "model": ("LongInterests", "UlimModel"),
        "optimizers": ("LazyAdam",),
    }

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for module, names in _NAMES.items():
            if name in names:
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return importlib.import_module(f"{__name__}.{name}")

    def __dir__():
        return sorted({*globals(), *__all__})
