"""Which version of the model is served: watches a folder, loads the newest version, then unloads the one before."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import dataclasses
import logging
import pathlib
import threading
from collections.abc import Callable, Iterator

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server.errors import ServingError, code_of, invalid
from serving.server.loader import LoadedModel

_LOG = logging.getLogger(__name__)
_LARGEST_VERSION = 2**63 - 1


@dataclasses.dataclass
class _Version:
    number: int
    state: int = ModelVersionStatus.START
    error_code: int = 0
    error: str = ""
    model: LoadedModel | None = None
    in_flight: int = 0


class Manager:
    """Serves the newest version under a folder, and swaps to a newer one without refusing a request.

    A version is a folder with a number for its name and a saved_model.pb inside; everything else is ignored. Put one
    there by an atomic rename: a half-copied version fails to load. A version that failed is not tried again until its
    folder has gone and come back; what was served before goes on. When every version has gone from the folder, the
    loaded one goes on too.

    Args:
        model_name: the name that requests ask for.
        base_path: folder with the version folders; may appear later.
        load: makes a model of a version folder.
        when_settled: called once, from the watching thread, when the first version has loaded or failed to.
        poll_seconds: time between two looks at the folder.
    """

    def __init__(self, model_name: str, base_path: str, load: Callable[[str], LoadedModel],
                 when_settled: Callable[[], None] = lambda: None, poll_seconds: float = 1.0):
        self._name = model_name
        self._base = pathlib.Path(base_path)
        self._load_model = load
        self._when_settled = when_settled
        self._poll_seconds = poll_seconds
        self._settled = False
        self._told = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="version-watcher", daemon=True)
        # Guards _versions and all that is in them; notified at every change of a state or of a count in flight.
        self._changed = threading.Condition()
        self._versions: dict[int, _Version] = {}

    def start(self) -> None:
        """Begins to watch, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch and unloads what is loaded. Requests still in flight are cancelled."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def wait_until_available(self, timeout: float) -> bool:
        """True as soon as a version is served, False if none is after `timeout` seconds."""
        with self._changed:
            return bool(self._changed.wait_for(self._available, timeout))

    @contextlib.contextmanager
    def borrow(self, spec: ModelSpec) -> Iterator[tuple[int, LoadedModel]]:
        """The version that a request asks for, and its number; it stays loaded inside the `with`.

        Raises:
            ServingError: INVALID_ARGUMENT, no name or a version label; NOT_FOUND, that model or version is not served.
        """
        version = self._borrow(spec)
        try:
            yield version.number, version.model
        finally:
            with self._changed:
                version.in_flight -= 1
                self._changed.notify_all()

    def statuses(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """The state of one version, or of all that were seen, newest first.

        Raises:
            ServingError: INVALID_ARGUMENT, a version label; NOT_FOUND, that model or version was never seen.
        """
        _refuse_label(spec)
        with self._changed:
            known = self._versions if spec.name == self._name else {}
            if not spec.HasField("version"):
                if not known:
                    raise _not_found(f"Could not find any versions of model {spec.name}")
                return [_status(known[number]) for number in sorted(known, reverse=True)]
            if spec.version.value not in known:
                raise _not_found(f"Could not find version {spec.version.value} of model {spec.name}")
            return [_status(known[spec.version.value])]

    def _borrow(self, spec: ModelSpec) -> _Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        _refuse_label(spec)
        with self._changed:
            served = {version.number: version for version in self._available()} if spec.name == self._name else {}
            if spec.HasField("version"):
                number, wanted = spec.version.value, f"Specific({spec.name}, {spec.version.value})"
            else:
                number, wanted = max(served, default=None), f"Latest({spec.name})"
            if number not in served:
                raise _not_found(f"Servable not found for request: {wanted}")
            served[number].in_flight += 1
            return served[number]

    def _available(self) -> list[_Version]:
        return [version for version in self._versions.values() if version.state == ModelVersionStatus.AVAILABLE]

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._poll()
            self._stopping.wait(self._poll_seconds)
        self._unload_all_but(None)

    def _poll(self) -> None:
        try:
            folders = _version_folders(self._base)
        except OSError as error:
            self._tell_once(f"Waiting for model_base_path {self._base}: {error.strerror}")
            return
        with self._changed:
            for number in [n for n, version in self._versions.items()
                           if version.state == ModelVersionStatus.END and n not in folders]:
                del self._versions[number]
        if not folders:
            self._tell_once(f"Waiting for a version of {self._name}: no folder NUMBER/ with a saved_model.pb "
                            f"under {self._base}")
            return
        newest = max(folders)
        with self._changed:
            known = self._versions.get(newest)
            if known and (known.state == ModelVersionStatus.AVAILABLE or known.error):
                return
            version = self._versions[newest] = _Version(newest)
        if self._load(version, folders[newest]):
            self._unload_all_but(version)
        if not self._settled:
            self._settled = True
            self._when_settled()

    def _load(self, version: _Version, folder: pathlib.Path) -> bool:
        self._enter(version, ModelVersionStatus.LOADING)
        try:
            version.model = self._load_model(str(folder))
        except Exception as error:  # whatever a broken SavedModel raises, the server goes on
            version.error_code = code_of(error).value[0]
            version.error = f"{type(error).__name__}: {error}"
            self._enter(version, ModelVersionStatus.END)
            _LOG.error("Version %d of %s failed to load: %s", version.number, self._name, version.error)
            return False
        self._enter(version, ModelVersionStatus.AVAILABLE)
        _LOG.info("Version %d of %s is AVAILABLE, from %s", version.number, self._name, folder)
        return True

    def _unload_all_but(self, kept: _Version | None) -> None:
        for version in self._available():
            if version is kept:
                continue
            self._enter(version, ModelVersionStatus.UNLOADING)
            with self._changed:
                self._changed.wait_for(lambda version=version: not version.in_flight or self._stopping.is_set())
            version.model.close()
            version.model = None
            self._enter(version, ModelVersionStatus.END)
            _LOG.info("Version %d of %s is unloaded", version.number, self._name)

    def _enter(self, version: _Version, state: int) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()

    def _tell_once(self, message: str) -> None:
        if message != self._told:
            _LOG.warning("%s", message)
            self._told = message


def _version_folders(base: pathlib.Path) -> dict[int, pathlib.Path]:
    return {int(folder.name): folder for folder in base.iterdir()
            if folder.name.isascii() and folder.name.isdecimal() and int(folder.name) <= _LARGEST_VERSION
            and (folder / "saved_model.pb").is_file()}


def _refuse_label(spec: ModelSpec) -> None:
    if spec.version_label:
        raise invalid(f"Unrecognized servable version label: {spec.version_label}. "
                      "The embedded server has no labels; ask for a version by number.")


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _status(version: _Version) -> ModelVersionStatus:
    status = ModelVersionStatus(version=version.number, state=version.state)
    status.status.error_code = version.error_code
    status.status.error_message = version.error
    return status
