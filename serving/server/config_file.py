"""A configuration that follows its file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import logging
import threading
from collections.abc import Callable

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.server import model_config
from serving.server.errors import ServingError

_LOG = logging.getLogger(__name__)


class ConfigFile:
    """Reads a file again and again, and has what it says served.

    Every time, as TF Serving: so the file also prevails over what a client has reloaded meanwhile, and labels are
    assigned as soon as their versions are available. A file that is not valid changes nothing, and is told once.

    Args:
        file: a ModelServerConfig in text format.
        reload: serves a configuration; raises ServingError.
        poll_seconds: time between two readings.
    """

    def __init__(self, file: str, reload: Callable[[ModelServerConfig], None], poll_seconds: float):
        self._file = file
        self._reload = reload
        self._poll_seconds = poll_seconds
        self._told = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="config-file", daemon=True)

    def start(self) -> None:
        """Begins to read, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it. What reloads must have been stopped before, or a load under way is waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self._reload(model_config.read(self._file))
            except ServingError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    _LOG.error("The model config file %s is not served: %s", self._file, error)
            else:
                self._told = ""
