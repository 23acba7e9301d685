"""ULIM: candidate retrieval from a user's whole history, by category, in TensorFlow.

Importing this package selects Keras 2 (`tf_keras`), which TensorFlow Recommenders, TFT and TFMA need.
"""

import os
import sys

__version__ = "0.1.0"

_SWITCH = "TF_USE_LEGACY_KERAS"

if os.environ.get(_SWITCH) != "1":
    if "tensorflow" in sys.modules:
        raise ImportError(
            f"ulim_tf needs {_SWITCH}=1 before TensorFlow is first imported, but tensorflow is already imported "
            f"and {_SWITCH} is {os.environ.get(_SWITCH)!r}. Import ulim_tf before tensorflow, or set {_SWITCH}=1 "
            "in the environment and restart Python."
        )
    os.environ[_SWITCH] = "1"
