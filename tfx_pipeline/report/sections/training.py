"""How the training went: its end, and the curves of losses and of validation recall, from TensorBoard's event files."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import Block, Chart, Facts, Missing, Text
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import number
from tfx_pipeline.training.history import SUMMARY_FILE


class Curve(NamedTuple):
    """One scalar by training step, steps rising."""

    steps: list[int]
    values: list[float]


def read_curves(model_run: Path) -> dict[str, Curve]:
    """The scalars of all event files below a folder, by name."""
    found: dict[str, Curve] = {}
    for folder in sorted({file.parent for file in model_run.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
        events.Reload()
        for tag in sorted(events.Tags()[TENSORS]):
            points = [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
            scalars = [(step, float(value)) for step, value in points if value.ndim == 0]
            if scalars:
                found[tag.replace("_", " ")] = Curve(*map(list, zip(*scalars)))
    return found


def blocks(subject: Subject) -> Iterator[Block]:
    """How long it trained and whose weights were taken, losses, recall."""
    model_run = subject.output("Trainer", "model_run")
    if model_run is None:
        yield Missing("Nothing was trained.")
        return
    trainer = subject.step("Trainer")
    if trainer and trainer.cached:
        yield Text("Nothing was trained anew: neither the examples nor the settings changed. This is the run that "
                   "trained the model.")
    curves = read_curves(model_run)
    losses = {name: curve for name, curve in curves.items() if "loss" in name}
    recalls = {name: curve for name, curve in curves.items() if "recall" in name}
    facts = {**_ending(model_run), **_best(recalls)}
    if facts:
        yield Facts(facts)
    if losses:
        yield _chart("Training losses", "mean loss since the last point", losses, min, "lowest")
    else:
        yield Missing("The training left no losses.")
    if recalls:
        yield _chart("Validation recall", "recall", recalls, max, "highest")
    else:
        yield Missing("Recall was not measured while training: no user was kept for validation.")


def _ending(model_run: Path) -> dict[str, str]:
    if not (model_run / SUMMARY_FILE).is_file():
        return {}
    summary = json.loads((model_run / SUMMARY_FILE).read_text())
    return {"Steps trained": f"{number(summary['trained_steps'])} of {number(summary['steps'])}",
            "Weights taken of step": number(summary["weights_of_step"]),
            "Began with": "an earlier model's weights" if summary["warm_start"] else "new weights"}


def _best(recalls: Mapping[str, Curve]) -> dict[str, str]:
    return {f"Highest {name}": f"{max(curve.values):.4f} at step "
                               f"{number(curve.steps[curve.values.index(max(curve.values))])}"
            for name, curve in recalls.items()}


def _chart(title: str, y: str, curves: Mapping[str, Curve], best: Callable[[list[float]], float], word: str) -> Chart:
    told = "; ".join(f"{name} from {curve.values[0]:.4g} to {curve.values[-1]:.4g}, {word} {best(curve.values):.4g}"
                     for name, curve in curves.items())
    return Chart(title, charts.lines("training step", y, curves), f"{title} by training step: {told}.")
