"""One model's versions: a thread that watches their folder, loads those that are wanted and unloads the others."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.server import version_folders
from serving.server.errors import code_of
from serving.server.loader import LoadedModel

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How often folders are looked at and loads are tried, as tensorflow_model_server's flags say.

    Attributes:
        poll_seconds: between two looks at a base path; 0 looks at the start, and when a load, the end of an unload
            or another configuration gives reason to.
        load_retries: tries after the first that failed.
        retry_seconds: from a failed load to the next try.
    """

    poll_seconds: float = 1.0
    load_retries: int = 5
    retry_seconds: float = 60.0


@dataclasses.dataclass(eq=False)
class _Version:
    number: int
    folder: str
    state: int = ModelVersionStatus.START
    error_code: int = 0
    error: str = ""
    failures: int = 0
    next_try: float = 0.0
    model: LoadedModel | None = None
    in_flight: int = 0

    @property
    def tried(self) -> bool:
        """Whether it has been loaded or has failed to."""
        return self.failures > 0 or self.state >= ModelVersionStatus.AVAILABLE


class ServedModel:
    """The versions of one model that are loaded, are to be, or were.

    Requests never wait for a load or an unload. A version is unloaded when a wanted one is available, and when its
    last request in flight has ended; so if nothing wanted can be loaded, or nothing is left in the folder, what was
    served goes on. A version that failed to load is tried again as `patience` says, and afresh when its folder has
    gone and come back.

    Args:
        config: checked; name, base path and version policy.
        load: makes a model of a version folder.
        loading: held during a load; shared among models, so that one version is loaded at a time.
        changed: guards all that changes here; shared among models, and notified at every change of a state.
        patience: how often to look and to try.
    """

    def __init__(self, config: ModelConfig, load: Callable[[str], LoadedModel], loading: threading.Lock,
                 changed: threading.Condition, patience: Patience):
        self._config = config
        self._load_model = load
        self._loading = loading
        self._changed = changed
        self._patience = patience
        # By folder: a base path that changes may bring other folders of the same numbers.
        self._versions: dict[str, _Version] = {}
        self._wanted: dict[int, str] = {}
        self._looked = False
        self._retired = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._watch, name=f"versions-of-{config.name}", daemon=True)

    def start(self) -> None:
        """Begins to watch, in a thread."""
        self._thread.start()

    def update(self, config: ModelConfig) -> None:
        """Another base path or policy for the same model."""
        with self._changed:
            self._config = config
        self._wake.set()

    def retire(self) -> None:
        """Unloads every version as soon as its requests have ended, and ends the watch."""
        with self._changed:
            self._retired = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the watch and unloads what is loaded. Requests still in flight are cancelled."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    @property
    def retired(self) -> bool:
        """Whether it is out of service; for holders of `changed`."""
        return self._retired

    @property
    def available(self) -> bool:
        """Whether a version can be asked; for holders of `changed`."""
        return bool(self._available())

    @property
    def settled(self) -> bool:
        """Whether every wanted version has been loaded or has failed to, or none will be; for holders of `changed`."""
        known = [self._versions.get(folder) for folder in self._wanted.values()]
        return self._retired or (bool(known) and all(version is not None and version.tried for version in known))

    @property
    def empty_handed(self) -> bool:
        """Whether the last look at the folder found nothing to load; for holders of `changed`."""
        return self._looked and not self._wanted

    @contextlib.contextmanager
    def borrow(self, number: int | None) -> Iterator[tuple[int, LoadedModel] | None]:
        """An available version, the newest for None, and its number; None if there is none. It stays loaded inside."""
        with self._changed:
            numbered = {version.number: version for version in self._available()}
            if number is None:
                number = max(numbered, default=None)
            version = None if number is None else numbered.get(number)
            model = version.model if version else None
            if version and model:
                version.in_flight += 1
        if not version or not model:
            yield None
            return
        try:
            yield version.number, model
        finally:
            with self._changed:
                version.in_flight -= 1
                if version.state == ModelVersionStatus.UNLOADING and not version.in_flight:
                    self._wake.set()

    def statuses(self) -> dict[int, ModelVersionStatus]:
        """The states of all versions that were seen, by number, newest first; for holders of `changed`."""
        numbered = {version.number: version for version in self._versions.values()}
        return {number: _status(numbered[number]) for number in sorted(numbered, reverse=True)}

    def _available(self) -> list[_Version]:
        return [version for version in self._versions.values() if version.state == ModelVersionStatus.AVAILABLE]

    def _loaded(self) -> list[_Version]:
        return [version for version in self._versions.values() if version.model]

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._look()
            self._unload_what_may_go()
            if self._done():
                return
            version = self._next_to_load()
            if version:
                self._load(version)
            else:
                self._wake.wait(self._pause())
                self._wake.clear()
        for version in self._loaded():
            self._unload(version)

    def _done(self) -> bool:
        with self._changed:
            return self._retired and not self._loaded()

    def _look(self) -> None:
        with self._changed:
            config, retired = self._config, self._retired
        if retired:
            return
        try:
            folders = version_folders.find(config.base_path)
        except OSError as error:
            self._tell_once(f"Waiting for model_base_path {config.base_path}: {error.strerror or error}")
            folders = {}
        else:
            if not folders:
                self._tell_once(f"Waiting for a version of {config.name}: no folder NUMBER/ with a saved_model.pb "
                                f"under {config.base_path}")
        wanted = version_folders.wanted(folders, config.model_version_policy)
        if folders and not wanted:
            self._tell_once(f"Waiting for version {list(config.model_version_policy.specific.versions)} of "
                            f"{config.name}: {config.base_path} has {sorted(folders)}")
        with self._changed:
            self._wanted = wanted
            self._looked = True
            on_disk = set(folders.values())
            for folder in [folder for folder, version in self._versions.items()
                           if version.state == ModelVersionStatus.END and folder not in on_disk]:
                del self._versions[folder]
            self._changed.notify_all()

    def _next_to_load(self) -> _Version | None:
        """The newest wanted version that was not loaded yet, was unloaded, or is due for another try."""
        with self._changed:
            for number, folder in sorted(self._wanted.items(), reverse=True):
                known = self._versions.get(folder)
                if known is None or (known.state == ModelVersionStatus.END and not known.error):
                    self._versions.pop(folder, None)  # so that the new one stands last, and counts for its number
                    self._versions[folder] = _Version(number, folder)
                    return self._versions[folder]
                if known.state == ModelVersionStatus.END and known.next_try <= time.monotonic():
                    return known
        return None

    def _load(self, version: _Version) -> None:
        with self._loading:
            if self._stopping.is_set():
                return
            self._enter(version, ModelVersionStatus.LOADING)
            try:
                version.model = self._load_model(version.folder)
            except Exception as error:  # whatever a broken SavedModel raises, the server goes on
                self._fail(version, error)
                return
        version.error_code, version.error = 0, ""
        self._enter(version, ModelVersionStatus.AVAILABLE)
        _LOG.info("Version %d of %s is AVAILABLE, from %s", version.number, self._config.name, version.folder)

    def _fail(self, version: _Version, error: Exception) -> None:
        version.error_code = code_of(error).value[0]
        version.error = f"{type(error).__name__}: {error}"
        version.failures += 1
        retries_left = self._patience.load_retries + 1 - version.failures
        version.next_try = time.monotonic() + self._patience.retry_seconds if retries_left > 0 else float("inf")
        self._enter(version, ModelVersionStatus.END)
        _LOG.error("Version %d of %s failed to load: %s (retries left: %d)", version.number, self._config.name,
                   version.error, max(retries_left, 0))

    def _unload_what_may_go(self) -> None:
        with self._changed:
            kept = set(self._wanted.values())
            available = self._available()
            if self._retired:
                going = available
            elif any(version.folder in kept for version in available):
                going = [version for version in available if version.folder not in kept]
            else:
                going = []
            for version in going:
                self._enter(version, ModelVersionStatus.UNLOADING)
            unused = [version for version in self._versions.values()
                      if version.state == ModelVersionStatus.UNLOADING and not version.in_flight]
        for version in unused:
            self._unload(version)

    def _unload(self, version: _Version) -> None:
        if version.model:
            version.model.close()
        version.model = None
        self._enter(version, ModelVersionStatus.END)
        _LOG.info("Version %d of %s is unloaded", version.number, self._config.name)

    def _pause(self) -> float | None:
        """Seconds until there is something to do, unless woken before; None for never."""
        with self._changed:
            wanted = self._wanted.values()
            tries = [version.next_try for version in self._versions.values() if version.folder in wanted]
        pauses = [at - time.monotonic() for at in tries if time.monotonic() < at < float("inf")]
        if self._patience.poll_seconds:
            pauses.append(self._patience.poll_seconds)
        return min(pauses, default=None)

    def _enter(self, version: _Version, state: int) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()

    def _tell_once(self, message: str) -> None:
        if message != self._told:
            _LOG.warning("%s", message)
            self._told = message


def _status(version: _Version) -> ModelVersionStatus:
    status = ModelVersionStatus(version=version.number, state=version.state)
    status.status.error_code = version.error_code
    status.status.error_message = version.error
    return status
