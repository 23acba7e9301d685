"""What each step of the latest run did, read back from ML Metadata."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_transform as tft
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.orchestration import metadata

from serving.contract import MODEL_NAME
from tfx_pipeline import rare_items
from tfx_pipeline.components.data_gate import report
from tfx_pipeline.components.event_example_gen.executor import REJECTED_FILE, SUMMARY_FILE, settings_of
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.evaluation import results
from ulim_tf import features
from ulim_tf.config import FeaturesConfig


class Step(NamedTuple):
    """One component of a run."""

    name: str
    cached: bool
    finished: bool
    seconds: float
    outputs: dict[str, Path]  # output name -> folder of the artifact
    pushed: Path | None  # version folder, of the Pusher alone
    properties: dict[str, str]  # those arguments of the component that are texts


class Run(NamedTuple):
    """The steps of a run, in the order they ran."""

    steps: list[Step]

    @property
    def servable(self) -> Path | None:
        """The version folder that this run, or the run it was cached from, pushed; None if a gate refused."""
        return next((step.pushed for step in self.steps if step.pushed), None)

    @property
    def refusals(self) -> list[str]:
        """Why a gate refused the servable, in words: the gate and the reason."""
        return [f"{step.name}: {reason}" for step in self.steps if step.name in _GATES
                for reason in _GATES[step.name](step)]

    @property
    def examples(self) -> Path:
        """The folder of the examples, as they were before Transform."""
        return next(step.outputs["examples"] for step in self.steps if "examples" in step.outputs)

    @property
    def counts(self) -> dict[str, Any]:
        """What the ingest counted."""
        return _counts(self.examples)

    @property
    def features_config(self) -> FeaturesConfig:
        """What the examples were made to hold."""
        ingest = next(step for step in self.steps if "examples" in step.outputs)
        return FeaturesConfig(**settings_of(ingest.properties)["features"])

    def example_files(self, split: str) -> list[str]:
        """TFRecord files of a split of the examples."""
        return sorted(str(file) for file in (self.examples / f"Split-{split}").iterdir())


def read(connection: metadata_store_pb2.ConnectionConfig, pipeline: str = MODEL_NAME) -> Run:
    """Reads the newest run.

    Args:
        connection: to the ML Metadata store of the pipeline.
        pipeline: its name, of those that the store knows.
    """
    return next(_runs(connection, pipeline))


def newest(connection: metadata_store_pb2.ConnectionConfig, step: str, pipeline: str = MODEL_NAME) -> Run | None:
    """The newest run that a step finished in, with its finished steps; None if there is no such run.

    Args:
        connection: as of `read`.
        step: name of a component.
        pipeline: as of `read`.
    """
    for run in _runs(connection, pipeline):
        finished = Run([one for one in run.steps if one.finished])
        if any(one.name == step for one in finished.steps):
            return finished
    return None


def _runs(connection: metadata_store_pb2.ConnectionConfig, pipeline: str) -> Iterator[Run]:
    """The newest first."""
    with metadata.Metadata(connection) as handle:
        store = handle.store
        context = store.get_context_by_type_and_name("pipeline", pipeline)
        its_own = {one.id for one in store.get_executions_by_context(context.id)} if context else set()
        names = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
        for context in sorted(store.get_contexts_by_type("pipeline_run"), key=lambda one: one.id, reverse=True):
            executions = sorted((one for one in store.get_executions_by_context(context.id) if one.id in its_own),
                                key=lambda execution: execution.id)
            if executions:
                yield Run([_step(store, names[execution.type_id], execution) for execution in executions
                           if names[execution.type_id] not in ("Resolver", "Importer")])  # they find what is there


def _step(store, name: str, execution: metadata_store_pb2.Execution) -> Step:
    events = [event for event in store.get_events_by_execution_ids([execution.id])
              if event.type == metadata_store_pb2.Event.OUTPUT]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id([e.artifact_id for e in events])}
    outputs = {event.path.steps[0].key: artifacts[event.artifact_id] for event in events}
    pushed = [artifact.custom_properties["pushed_destination"].string_value for artifact in outputs.values()
              if "pushed_destination" in artifact.custom_properties]
    return Step(
        name=name,
        cached=execution.last_known_state == metadata_store_pb2.Execution.CACHED,
        finished=execution.last_known_state in (metadata_store_pb2.Execution.COMPLETE,
                                                metadata_store_pb2.Execution.CACHED),
        seconds=(execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000,
        outputs={key: Path(artifact.uri) for key, artifact in outputs.items()},
        pushed=Path(pushed[0]) if pushed else None,
        properties={key: value.string_value for key, value in execution.custom_properties.items()
                    if value.WhichOneof("value") == "string_value"})


def table(run: Run) -> str:
    """The summary that a run ends with: a line for each step, with its duration and what it gave."""
    lines = [f"{'step':<18} {'seconds':>8}  result"]
    for step in run.steps:
        duration = "cached" if step.cached else f"{step.seconds:.1f}"
        result = _RESULTS[step.name](step) if step.name in _RESULTS and step.finished else ""
        lines.append(f"{step.name:<18} {duration:>8}  {result}".rstrip())
    return "\n".join(lines)


def _counts(examples: Path) -> dict[str, Any]:
    return json.loads((examples / SUMMARY_FILE).read_text())


def _ingest(step: Step) -> str:
    counts = _counts(step.outputs["examples"])
    rejected = counts["events_rows_rejected"]
    told = (f"{counts['events']:,} of {counts['events_rows_read']:,} rows kept, {counts['train_users']:,} users, "
            f"{counts['items']:,} items, {counts['categories']:,} categories; {counts['eval_users']:,} users held out")
    if rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.items())
        told += f"; rejected: {reasons}: see {step.outputs['examples'] / REJECTED_FILE}"
    return told


def _anomalies(step: Step) -> str:
    found = {}
    for file in sorted(step.outputs["anomalies"].glob("Split-*/SchemaDiff.pb")):
        anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes()).anomaly_info
        found.update({name: info.short_description for name, info in anomalies.items()})
    return f"{len(found)} anomalies" + "".join(f"; {name}: {what}" for name, what in found.items())


def _gate(step: Step) -> str:
    found = report.read_report(str(step.outputs["gate"]))
    told = (f"{len(found.of(report.PASS))} of {len(found.checks)} checks passed, "
            + ("compared with an earlier run" if found.baseline else "no earlier run to compare with"))
    return told + "".join(f"; warning: {check.rule}: {check.told}" for check in found.of(report.WARN))


def _vocabularies(step: Step) -> str:
    output = tft.TFTransformOutput(str(step.outputs["transform_graph"]))
    told = (f"{output.vocabulary_size_by_name(features.ITEM_VOCABULARY):,} items, "
            f"{output.vocabulary_size_by_name(features.CATEGORY_VOCABULARY):,} categories")
    if rare := rare_items.count(rare_items.rare_vocabulary(output)):
        told += f"; {rare:,} rare items are not answered: they have fewer events than vocabulary.least_events"
    return told


def _servable_size(step: Step) -> str:
    size = sum(file.stat().st_size for file in step.outputs["servable"].rglob("*") if file.is_file())
    return f"{size / 2**20:.0f} MiB"


def _evaluation(step: Step) -> str:
    verdict = results.read_verdict(step.outputs["evaluation"])
    demanded = verdict.least_over_popular * verdict.popular_recall
    before = ("no servable blessed before" if verdict.last_blessed_recall is None else
              f"the last blessed servable {verdict.last_blessed_recall:.4f}")
    told = (f"Recall@{verdict.at} {verdict.recall:.4f}, at least {max(verdict.least_recall, demanded):.4f} demanded, "
            f"{before}: ")
    return told + ("blessed" if verdict.blessed else f"not blessed: {'; '.join(verdict.reasons)}")


def _validation(step: Step) -> str:
    found = validation.read(str(step.outputs["blessing"]))
    told = ", ".join(f"{check.name} {check.told}".rstrip() for check in found.checks if check.passed)
    return told + "".join(f"; not blessed: {fault}" for fault in found.faults())


_GATES: dict[str, Callable[[Step], list[str]]] = {
    "Evaluator": lambda step: results.read_verdict(step.outputs["evaluation"]).reasons,
    "ServableValidator": lambda step: validation.read(str(step.outputs["blessing"])).faults(),
}

_RESULTS: dict[str, Callable[[Step], str]] = {
    "EventExampleGen": _ingest,
    "ExampleValidator": _anomalies,
    "DataGate": _gate,
    "Transform": _vocabularies,
    "IndexBuilder": _servable_size,
    "Evaluator": _evaluation,
    "ServableValidator": _validation,
    "Pusher": lambda step: str(step.pushed or "nothing pushed"),
}
