"""What the gates say of the data: the data gate's rules, anomalies against the schema, drift and skew."""

from collections.abc import Iterator

from tensorflow_metadata.proto.v0 import anomalies_pb2

from tfx_pipeline.components.data_gate import report as gate
from tfx_pipeline.report.blocks import BAD, GOOD, UNSURE, Block, Missing, Table, Text
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import number

GATE = "DataGate"

_MOODS = {gate.PASS: GOOD, gate.WARN: UNSURE, gate.STOP: BAD}


def blocks(subject: Subject) -> Iterator[Block]:
    """The gate's checks, then what ExampleValidator found."""
    yield from _gate(subject)
    yield from _anomalies(subject)


def gate_report(subject: Subject) -> gate.Report | None:
    """What the data gate found, of a run that it stopped as well; None if it did not get that far."""
    step = subject.step(GATE)
    folders = list(step.outputs.values()) if step else []
    if subject.failure and subject.failure.step == GATE:
        folders.append(subject.rejected)
    return next((gate.read_report(str(folder)) for folder in folders if (folder / gate.REPORT_FILE).is_file()), None)


def _gate(subject: Subject) -> Iterator[Block]:
    report = gate_report(subject)
    if report is None:
        yield Missing("There are no verdicts of a data gate.")
        return
    counted = ", ".join(f"{len(report.of(verdict))} {what}" for verdict, what in (
        (gate.PASS, "passed"), (gate.WARN, "to look at"), (gate.STOP, "stopped the run")))
    against = ("Compared with the newest earlier run that passed." if report.baseline else
               "There is no earlier run to compare with.")
    yield Text(f"{len(report.checks)} rules: {counted}. {against}")
    yield Table(
        "The data gate", ["rule", "verdict", "what was found", "measured", "allowed", "earlier run"],
        [[check.rule, check.verdict, check.told, _number(check.value), _number(check.bound), _number(check.baseline)]
         for check in report.checks], words=3, moods=[_MOODS[check.verdict] for check in report.checks])


def _anomalies(subject: Subject) -> Iterator[Block]:
    folder = subject.output("ExampleValidator", "anomalies")
    if folder is None:
        yield Missing("The examples were not checked against the schema.")
        return
    found, measured = [], []
    for file in sorted(folder.glob("Split-*/SchemaDiff.pb")):
        split = file.parent.name.removeprefix("Split-")
        anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        found += [[name, split, info.short_description, info.description]
                  for name, info in sorted(anomalies.anomaly_info.items())]
        for info in anomalies.drift_skew_info:
            for kind, measurements in (("drift", info.drift_measurements), ("skew", info.skew_measurements)):
                measured += [[".".join(info.path.step), kind, split, _MEASURES.get(one.type, "?"), number(one.value),
                              number(one.threshold)] for one in measurements]
    if found:
        yield Table("Anomalies against the schema", ["feature", "split", "anomaly", "description"], found, words=4)
    else:
        yield Text("No anomalies against the schema.")
    if measured:
        yield Table("Drift and skew as TensorFlow Data Validation measures them",
                    ["feature", "of", "split", "measure", "measured", "allowed"], measured, words=4)


_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "largest difference of a share",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
}


def _number(value: float | None) -> str:
    return "" if value is None else number(value)
