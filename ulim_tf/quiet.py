"""Imported first by the commands: keeps the start-up notes of TensorFlow and Google's libraries off the console."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
# Of the processes that are started, such as Beam's workers; whole names of modules.
os.environ.setdefault("PYTHONWARNINGS", ",".join(f"ignore::FutureWarning:google.{module}" for module in (
    "api_core._python_version_support", "auth.transport.grpc")))
