"""A Pusher whose readers never see half a version, and which keeps some of them."""

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from serving import model_card
from serving.contract import MODEL_NAME
from tfx_pipeline import servables
from tfx_pipeline.components.pusher import versions
from tfx_pipeline.evaluation import results

EVALUATION, VERSIONS_KEPT = "evaluation", "versions_kept"

# Of the artifact, as TFX's executor names them.
_PUSHED, _PUSHED_DESTINATION, _PUSHED_VERSION = "pushed", "pushed_destination", "pushed_version"

_Completion = Callable[[str], None]  # of the model card in the folder of a servable


class Executor(executor.Executor):
    """Copies servables beside their destinations, renames them into place and removes the oldest versions.

    The executor it extends copies `ulim` file by file into the version folder, where an interruption leaves half of
    one. A URI is left to it: an object store can neither rename nor lock. Two pushes at once to a URI are two versions,
    unless they begin in the same second: then one of them is left out, or both write the same files. The other
    servables follow, under the same number.

    What the extended executor archives in its artifact is removed: the version and the servable's artifact hold it.
    """

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class. With an input `evaluation`, its metrics go into the model cards of what is pushed."""
        destination = proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], pusher_pb2.PushDestination())
        base = destination.filesystem.base_directory
        local, complete = "://" not in base, _completion(input_dict)
        with versions.changed_alone(base) if local else contextlib.nullcontext():
            if local:
                destination.filesystem.base_directory = versions.make_room(base)
            super().Do(input_dict, output_dict, {
                **exec_properties,
                standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)})
            pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
            kept = None
            if local:
                kept = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])[VERSIONS_KEPT]
                self._into_place(destination.filesystem.base_directory, base, kept, pushed, complete)
            elif pushed.get_int_custom_property(_PUSHED):
                complete(pushed.get_string_custom_property(_PUSHED_DESTINATION))
            io_utils.delete_dir(pushed.uri)
            fileio.makedirs(pushed.uri)  # the cache asks for the folder
            if pushed.get_int_custom_property(_PUSHED):
                found = servables.found(artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY]))
                del found[MODEL_NAME]
                _push_others(found, base, int(pushed.get_string_custom_property(_PUSHED_VERSION)), kept, complete)

    def _into_place(self, room: str, base: str, kept: int, pushed: types.Artifact, complete: _Completion) -> None:
        for name in os.listdir(room):  # none, if a blessing is missing
            complete(os.path.join(room, name))
            final = versions.into_place(os.path.join(room, name), base)
            self._MarkPushed(pushed, pushed_destination=final, pushed_version=os.path.basename(final))
            versions.keep(base, kept)
        shutil.rmtree(room)


def _completion(input_dict: dict[str, list[types.Artifact]]) -> _Completion:
    if not input_dict.get(EVALUATION):
        return lambda servable: None
    found = results.read_metrics(artifact_utils.get_single_uri(input_dict[EVALUATION])).get(results.ALL, {})
    metrics = {name: results.figure(name, value) for name, value in found.items()}
    return lambda servable: model_card.add_metrics(servable, metrics)


def _push_others(folders: dict[str, str], base: str, version: int, kept: int | None, complete: _Completion) -> None:
    for name, folder in folders.items():
        its_base = versions.base_of(name, base)
        if kept is None:  # a URI, where nothing is renamed or removed
            io_utils.copy_dir(folder, os.path.join(its_base, str(version)))
            complete(os.path.join(its_base, str(version)))
            continue
        with versions.changed_alone(its_base):
            room = versions.make_room(its_base)
            io_utils.copy_dir(folder, os.path.join(room, name))
            complete(os.path.join(room, name))
            versions.into_place(os.path.join(room, name), its_base, version)
            os.rmdir(room)
            versions.keep(its_base, kept)
