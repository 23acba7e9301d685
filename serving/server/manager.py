"""Which models are served, and which version answers a request that names a model, a version or a label."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import threading
from collections.abc import Callable, Iterator

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.server import model_config
from serving.server.errors import ServingError, invalid
from serving.server.loader import LoadedModel
from serving.server.served_model import Patience, ServedModel

_Labels = dict[str, dict[str, int]]


class Manager:
    """Serves the models of a configuration, each by a `ServedModel`, and changes over to another without a gap.

    Args:
        config: what to serve.
        load: makes a model of a version folder.
        when_settled: called once, from a thread, when every version that is wanted has loaded or failed to, of each
            model one or more.
        patience: how often folders are looked at and loads are tried.
        label_unavailable: whether a label may be assigned to a version that is not available, if it is a new label.

    Raises:
        ServingError: INVALID_ARGUMENT, the configuration is not valid (see `model_config.check`); FAILED_PRECONDITION,
            a label is of a version that is not available.
    """

    def __init__(self, config: ModelServerConfig, load: Callable[[str], LoadedModel],
                 when_settled: Callable[[], None] = lambda: None, patience: Patience | None = None, *,
                 label_unavailable: bool = False):
        self._load = load
        self._when_settled = when_settled
        self._patience = patience or Patience()
        self._label_unavailable = label_unavailable
        self._reloading = threading.Lock()
        self._loading = threading.Lock()
        # Guards all below, and all that changes in the models.
        self._changed = threading.Condition()
        self._config = ModelServerConfig()
        self._models: dict[str, ServedModel] = {}
        # Of models that are served no more, the last of each name: their states can still be asked for.
        self._retired: dict[str, ServedModel] = {}
        self._labels: _Labels = {}
        self._started = self._stopped = False
        self._settling = threading.Thread(target=self._settle, name="settling", daemon=True)
        self._apply(config)

    def start(self) -> None:
        """Begins to load and watch, in threads."""
        with self._changed:
            self._started = True
            for model in self._models.values():
                model.start()
        self._settling.start()

    def stop(self) -> None:
        """Ends the watch and unloads what is loaded. Requests still in flight are cancelled."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._started:
            for model in (*self._models.values(), *self._retired.values()):
                model.stop()

    def reload(self, config: ModelServerConfig) -> None:
        """Serves another configuration: whole, or not at all if it is not valid.

        Models that stay go on; those that go are unloaded when their requests have ended. Returns when every
        version of each new model has loaded or failed to.

        Raises:
            ServingError: as the constructor, and nothing has changed; UNKNOWN, the configuration is served, but of a
                new model no version could be loaded.
        """
        with self._reloading:
            new = self._apply(config)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or all(
                model.settled or model.empty_handed for model in new.values()))
            failed = [_why_not(name, model) for name, model in new.items() if not model.available]
        if failed:
            raise ServingError(grpc.StatusCode.UNKNOWN,
                               f"{len(failed)} model(s) did not become available: {{{', '.join(failed)}}}")

    def wait_until_available(self, timeout: float) -> bool:
        """True as soon as of every model a version is served, False if it is not after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(model.available for model in self._models.values()), timeout)

    def any_available(self) -> bool:
        """Whether of any model a version is served."""
        with self._changed:
            return any(model.available for model in self._models.values())

    @contextlib.contextmanager
    def borrow(self, spec: ModelSpec) -> Iterator[tuple[int, LoadedModel]]:
        """The version that a request asks for, and its number; it stays loaded inside the `with`.

        Raises:
            ServingError: INVALID_ARGUMENT, no name or an unknown label; NOT_FOUND, that model or version is not
                served.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        number = self._number(spec)
        model = self._models.get(spec.name)
        with model.borrow(number) if model else contextlib.nullcontext() as borrowed:
            if borrowed is None:
                wanted = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
                raise _not_found(f"Servable not found for request: {wanted}")
            yield borrowed

    def statuses(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """The state of one version, or of all that were seen, newest first.

        Raises:
            ServingError: INVALID_ARGUMENT, an unknown label; NOT_FOUND, that model or version was never seen.
        """
        number = self._number(spec)
        with self._changed:
            model = self._models.get(spec.name) or self._retired.get(spec.name)
            known = model.statuses() if model else {}
        if number is None and known:
            return list(known.values())
        if number is None:
            raise _not_found(f"Could not find any versions of model {spec.name}")
        if number not in known:
            raise _not_found(f"Could not find version {number} of model {spec.name}")
        return [known[number]]

    def _number(self, spec: ModelSpec) -> int | None:
        """The version that a request asks for; None for the newest."""
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return spec.version.value
        if choice != "version_label":
            return None
        number = self._labels.get(spec.name, {}).get(spec.version_label)
        if number is None:
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        return number

    def _apply(self, config: ModelServerConfig) -> dict[str, ServedModel]:
        """Checks a configuration and goes over to it. Returns the new models, by name."""
        model_config.check(config)
        with self._changed:
            if self._stopped or config == self._config:
                return {}
            self._labels = self._labels_of(config)
            named = {model.name: model for model in config.model_config_list.config}
            for name in self._models.keys() - named.keys():
                self._models[name].retire()
                self._retired[name] = self._models[name]
            new = {name: ServedModel(named[name], self._load, self._loading, self._changed, self._patience)
                   for name in named.keys() - self._models.keys()}
            self._models = {name: self._models.get(name) or new[name] for name in named}
            for name, model in self._models.items():
                model.update(named[name])
            self._config = config
            if self._started:
                for model in new.values():
                    model.start()
        return new

    def _labels_of(self, config: ModelServerConfig) -> _Labels:
        labels: _Labels = {}
        for model in config.model_config_list.config:
            for label, number in model.version_labels.items():
                is_new = self._labels.get(model.name, {}).get(label, number) == number
                if not (self._label_unavailable and is_new) and not self._is_available(model.name, number):
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {model.name}, which is not currently "
                        "available for inference")
                labels.setdefault(model.name, {})[label] = number
        return labels

    def _is_available(self, name: str, number: int) -> bool:
        known = self._models[name].statuses() if name in self._models else {}
        return number in known and known[number].state == ModelVersionStatus.AVAILABLE

    def _settle(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or all(model.settled for model in self._models.values()))
            if self._stopped:
                return
        self._when_settled()


def _why_not(name: str, model: ServedModel) -> str:
    errors = [f"version {number}: {status.status.error_message}" for number, status in model.statuses().items()
              if status.status.error_message]
    empty = "another configuration is served by now" if model.retired else "no version in its base path"
    return f"{{{name} due to error: {'; '.join(errors) or empty}}}"


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
