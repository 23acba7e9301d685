"""The versions that lie under a model's base path, and which of them its policy wants served."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from typing import TypeAlias

import tensorflow as tf
from tensorflow_serving.config.file_system_storage_path_source_pb2 import FileSystemStoragePathSourceConfig

VersionPolicy: TypeAlias = FileSystemStoragePathSourceConfig.ServableVersionPolicy
_LARGEST_VERSION = 2**63 - 1


def find(base_path: str) -> dict[int, str]:
    """Folders with a number for their name and a saved_model.pb inside, by that number.

    Args:
        base_path: a folder, or a URI that TensorFlow can read.

    Raises:
        OSError: it cannot be read.
    """
    folders = {}
    try:
        for name in sorted(_names(base_path)):
            folder = f"{base_path.rstrip('/')}/{name}"
            if (name.isascii() and name.isdecimal() and int(name) <= _LARGEST_VERSION
                    and tf.io.gfile.exists(f"{folder}/saved_model.pb")):
                folders[int(name)] = folder
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    return folders


def wanted(folders: dict[int, str], policy: VersionPolicy) -> dict[int, str]:
    """Those that the policy selects: all, the specific ones, or the newest `num_versions` (1, if it says nothing)."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return folders
    if choice == "specific":
        return {number: folder for number, folder in folders.items() if number in policy.specific.versions}
    newest = sorted(folders, reverse=True)[:max(policy.latest.num_versions, 1)]
    return {number: folders[number] for number in newest}


def _names(base_path: str) -> list[str]:
    # TensorFlow fails on a folder that holds a name which is not UTF-8, whosever it is.
    if "://" not in base_path:
        return os.listdir(base_path)
    return [name.rstrip("/") for name in tf.io.gfile.listdir(base_path)]  # object stores end a folder's name so
