"""ModelServerConfig, which says what models are served: made of flags, read from a file, and checked.

    model_config_list {
      config {
        name: "ulim"
        base_path: "/models/ulim"
        model_platform: "tensorflow"
        model_version_policy { specific { versions: 7 versions: 8 } }
        version_labels { key: "stable" value: 7 }
        version_labels { key: "canary" value: 8 }
      }
    }
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig, ModelType

from serving.server.errors import invalid

_PLATFORM = "tensorflow"


def single_model(name: str, base_path: str) -> ModelServerConfig:
    """One model, whose newest version is served.

    Args:
        name: that requests ask for.
        base_path: folder with one folder a version; a relative path is taken from the current folder.
    """
    config = ModelServerConfig()
    path = os.path.abspath(base_path) if _is_relative(base_path) else base_path
    config.model_config_list.config.add(name=name, base_path=path, model_platform=_PLATFORM)
    return config


def read(file: str) -> ModelServerConfig:
    """A file in protobuf's text format, as TF Serving's --model_config_file.

    Raises:
        ServingError: INVALID_ARGUMENT, the file cannot be read or is not a ModelServerConfig; the message says where.
    """
    try:
        with tf.io.gfile.GFile(file) as text:
            return text_format.Parse(text.read(), ModelServerConfig())
    except tf.errors.OpError as error:
        raise invalid(f"cannot read the model config file {file}: {error.message}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid(f"Invalid protobuf file: '{file}': {error}") from error


def check(config: ModelServerConfig) -> None:
    """Refuses what the server could not serve.

    Raises:
        ServingError: INVALID_ARGUMENT: it is no list of models, or a model has no name or the name of another, a base
            path that is neither absolute nor a URI, another platform than TensorFlow, a policy of no version, or a
            request log.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported by HandleReloadConfigRequest. "
                      "Only ModelConfigList is currently supported")
    names = set()
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid(f"a model has no name; its base_path is {model.base_path!r}")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        _check_model(model)


def _check_model(model: ModelConfig) -> None:
    if _is_relative(model.base_path):
        raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()="
                      f"{model.base_path}")
    _check_platform(model)
    policy = model.model_version_policy
    if policy.WhichOneof("policy_choice") == "specific" and not policy.specific.versions:
        raise invalid(f"the specific version policy of model {model.name} names no version")
    if model.HasField("logging_config"):
        raise invalid(f"No request-logger-creator provided. Remove logging_config of model {model.name}.")


def _check_platform(model: ModelConfig) -> None:
    if model.model_type and model.model_platform:
        raise invalid("Illegal setting both ModelServerConfig::model_type (deprecated) "
                      "and ModelServerConfig::model_platform.")
    if model.model_type not in (ModelType.MODEL_TYPE_UNSPECIFIED, ModelType.TENSORFLOW):
        raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    if not model.model_type and not model.model_platform:
        raise invalid("Illegal setting neither ModelServerConfig::model_type (deprecated) "
                      "nor ModelServerConfig::model_platform.")
    if model.model_platform not in ("", _PLATFORM):
        raise invalid(f"Model {model.name} requests unsupported platform {model.model_platform}")


def _is_relative(path: str) -> bool:
    return "://" not in path and not path.startswith("/")
