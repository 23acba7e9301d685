"""A Pusher whose readers never see half a version."""

import os
import shutil
import tempfile
import time
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

_UNFINISHED = ".unfinished-"  # a model server looks at folders with a number for a name only


class Executor(executor.Executor):
    """Copies the model beside its destination and renames it into place.

    The executor it extends copies file by file into the version folder, where an interruption leaves half of one. A URI
    is left to it: an object store cannot rename.
    """

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class."""
        destination = proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], pusher_pb2.PushDestination())
        base = destination.filesystem.base_directory
        if "://" in base:
            super().Do(input_dict, output_dict, exec_properties)
            return
        unfinished = _unfinished(base)
        destination.filesystem.base_directory = unfinished
        super().Do(input_dict, output_dict, {
            **exec_properties, standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)})
        for version in os.listdir(unfinished):
            final = _into_place(os.path.join(unfinished, version), base, int(version))
            pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
            self._MarkPushed(pushed, pushed_destination=final, pushed_version=os.path.basename(final))
        os.rmdir(unfinished)


def push(servable: str, base: str) -> str:
    """Moves the folder of a servable into a model base path, as its newest version.

    Returns:
        the version folder.
    """
    unfinished = _unfinished(base)
    moved = shutil.move(servable, os.path.join(unfinished, "servable"))  # a copy where they are on two file systems
    final = _into_place(moved, base, int(time.time()))
    os.rmdir(unfinished)
    return final


def _unfinished(base: str) -> str:
    """A new folder beside the versions; what an interrupted push left there goes."""
    os.makedirs(base, exist_ok=True)
    for name in os.listdir(base):
        if name.startswith(_UNFINISHED):
            shutil.rmtree(os.path.join(base, name))
    return tempfile.mkdtemp(prefix=_UNFINISHED, dir=base)


def _into_place(folder: str, base: str, number: int) -> str:
    """Makes a finished folder the version of that number, or of the next one that is free."""
    while os.path.exists(os.path.join(base, str(number))):  # two pushes within a second
        number += 1
    final = os.path.join(base, str(number))
    os.rename(folder, final)
    return final
