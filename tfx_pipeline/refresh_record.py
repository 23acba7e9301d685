"""What a refresh of the index leaves in ML Metadata: one execution with what it read, the gate's verdict and the push.

It stands in a context of its own kind, beside the runs of the pipeline, so that no run is taken for a refresh.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import common_utils

CONTEXT = "index_refresh"
EXECUTION = "tfx_pipeline.refresh_index"


@contextlib.contextmanager
def recorded(connection: metadata_store_pb2.ConnectionConfig, inputs: Mapping[str, Path],
             properties: Mapping[str, str]) -> Iterator[dict[str, types.Artifact]]:
    """Records the block as an execution: running, then complete, or failed if it raises.

    Args:
        connection: to the ML Metadata store of the pipeline.
        inputs: name -> folder of an artifact that is in the store.
        properties: of the execution.

    Yields:
        An empty dict; the artifacts that the block puts there, by name, are its outputs.
    """
    states = metadata_store_pb2.Execution
    with metadata.Metadata(connection) as handle:
        store = handle.store
        context = metadata_store_pb2.Context(
            type_id=store.put_context_type(metadata_store_pb2.ContextType(name=CONTEXT)),
            name=f"{CONTEXT} {time.time_ns()}")
        execution = states(
            type_id=store.put_execution_type(metadata_store_pb2.ExecutionType(name=EXECUTION)),
            last_known_state=states.RUNNING)
        for name, value in properties.items():
            execution.custom_properties[name].string_value = value
        read = [(artifact, _event(metadata_store_pb2.Event.INPUT, name)) for name, folder in inputs.items()
                for artifact in store.get_artifacts_by_uri(str(folder))]
        execution.id, _, _ = store.put_execution(execution, read, [context])
        outputs: dict[str, types.Artifact] = {}
        try:
            yield outputs
            execution.last_known_state = states.COMPLETE
        except BaseException:
            execution.last_known_state = states.FAILED
            raise
        finally:
            made = []
            for name, artifact in outputs.items():
                artifact.set_mlmd_artifact_type(common_utils.register_type_if_not_exist(handle, artifact.artifact_type))
                artifact.mlmd_artifact.state = metadata_store_pb2.Artifact.LIVE
                made.append((artifact.mlmd_artifact, _event(metadata_store_pb2.Event.OUTPUT, name)))
            store.put_execution(execution, made, [context], reuse_context_if_already_exist=True)


def _event(kind: int, name: str) -> metadata_store_pb2.Event:
    event = metadata_store_pb2.Event(type=kind)
    event.path.steps.add().key = name
    return event
