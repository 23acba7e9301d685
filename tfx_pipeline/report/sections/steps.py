"""How long each step took, what came from the cache, the settings and the versions."""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterator

import ulim_tf
from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import BAD, NEUTRAL, Block, Chart, Table, Text
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import duration
from tfx_pipeline.run_summary import Run, Step

_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "scann", "tfx", "apache-beam", "ml-metadata",
             "tensorflow-data-validation", "tensorflow-model-analysis", "numpy", "pyarrow", "plotly")


def total_seconds(run: Run) -> float:
    """The time of all steps that were not taken from the cache."""
    return sum(step.seconds for step in run.steps if not step.cached)


def durations(subject: Subject) -> Iterator[Block]:
    """Durations of the steps."""
    run = subject.run
    cached = sum(step.cached for step in run.steps)
    yield Text(f"{len(run.steps)} steps, {cached} of them from the cache; the others took "
               f"{duration(total_seconds(run))}.")
    worked = {step.name: step.seconds for step in run.steps if not step.cached}
    if worked:
        yield Chart("Duration of the steps that worked", charts.bars("seconds", "step", worked),
                    "Seconds by step: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in worked.items()) + ".")
    yield Table("Steps in the order they ran", ["step", "how it ended", "took"],
                [[step.name, _ending(step), "" if step.cached else duration(step.seconds)] for step in run.steps],
                words=2, moods=[NEUTRAL if step.finished else BAD for step in run.steps])


def _ending(step: Step) -> str:
    return "from the cache" if step.cached else "finished" if step.finished else "failed"


def settings(subject: Subject) -> Iterator[Block]:
    """All settings, those that differ from their default first; versions."""
    every, changed = [], []
    for section in dataclasses.fields(subject.config):
        values = getattr(subject.config, section.name)
        for field in dataclasses.fields(values):
            value = getattr(values, field.name)
            row = [f"{section.name}.{field.name}", _text(value), _text(field.default), field.metadata["doc"]]
            every.append(row)
            if value != field.default:
                changed.append(row)
    columns = ["setting", "value", "default", "meaning"]
    if changed:
        yield Table("Settings that differ from their default", columns, changed, words=4)
    else:
        yield Text("Every setting has its default.")
    yield Table("Every setting", columns, every, words=4, folded=True)
    yield Table("Versions", ["package", "version"],
                [["ulim-tf", ulim_tf.__version__], ["Python", platform.python_version()],
                 *([name, importlib.metadata.version(name)] for name in _PACKAGES)], words=2, folded=True)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
