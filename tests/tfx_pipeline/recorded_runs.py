"""Runs that ML Metadata knows, written by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

COMPLETE, CACHED, FAILED = (getattr(metadata_store_pb2.Execution, state) for state in ("COMPLETE", "CACHED", "FAILED"))


class Step(NamedTuple):
    """An execution: the folders of its outputs by name, its custom properties, and how it ended."""

    outputs: Mapping[str, Path]
    properties: Mapping[str, str] = {}
    state: int = COMPLETE


def record(workdir: Path, steps: Mapping[str, Step], run: str = "run 1") -> None:
    """Writes a run of `run_local` into the metadata of a work directory, its steps by the names of their components."""
    store = metadata_store.MetadataStore(metadata_store_pb2.ConnectionConfig(
        sqlite=metadata_store_pb2.SqliteMetadataSourceConfig(filename_uri=str(workdir / "metadata.sqlite"),
                                                             connection_mode=3)))
    contexts = [metadata_store_pb2.Context(
        type_id=store.put_context_type(metadata_store_pb2.ContextType(name=kind)), name=name)
        for kind, name in (("pipeline", "ulim"), ("pipeline_run", run))]
    for name, step in steps.items():
        execution = metadata_store_pb2.Execution(
            type_id=store.put_execution_type(metadata_store_pb2.ExecutionType(name=f"components.{name}")),
            last_known_state=step.state)
        for key, value in step.properties.items():
            execution.custom_properties[key].string_value = value
        made = []
        for key, folder in step.outputs.items():
            event = metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT)
            event.path.steps.add().key = key
            made.append((metadata_store_pb2.Artifact(type_id=store.put_artifact_type(
                metadata_store_pb2.ArtifactType(name=key)), uri=str(folder)), event))
        store.put_execution(execution, made, contexts, reuse_context_if_already_exist=True)
