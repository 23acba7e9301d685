"""A Pusher whose readers never see half a version, and which keeps some of them."""

import os
import shutil
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils, proto_utils

from tfx_pipeline.components.pusher import versions

VERSIONS_KEPT = "versions_kept"


class Executor(executor.Executor):
    """Copies the model beside its destination, renames it into place and removes the oldest versions.

    The executor it extends copies file by file into the version folder, where an interruption leaves half of one. A URI
    is left to it: an object store can neither rename nor lock. Two pushes at once to a URI are two versions, unless
    they begin in the same second: then one of them is left out, or both write the same files.
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
        with versions.changed_alone(base):
            self._push(input_dict, output_dict, exec_properties, destination, base)

    def _push(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
              exec_properties: dict[str, Any], destination: pusher_pb2.PushDestination, base: str) -> None:
        room = versions.make_room(base)
        destination.filesystem.base_directory = room
        super().Do(input_dict, output_dict, {
            **exec_properties, standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)})
        for name in os.listdir(room):  # none, if a blessing is missing
            final = versions.into_place(os.path.join(room, name), base)
            pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
            self._MarkPushed(pushed, pushed_destination=final, pushed_version=os.path.basename(final))
            custom = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
            versions.keep(base, custom[VERSIONS_KEPT])
        shutil.rmtree(room)
