"""What a report is about: one run, however far it came."""

from pathlib import Path
from typing import NamedTuple

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.run_summary import Run, Step

SERVING_FOLDER = "Format-Serving"  # of an artifact of type Model


class Failure(NamedTuple):
    """The step that failed, and what it said."""

    step: str
    message: str


class Subject(NamedTuple):
    """A run that has ended.

    Attributes:
        run: its steps.
        config: its settings.
        directory: where the report goes; links are relative to it.
        rejected: where the gates keep what they say of a run that they stop.
        failure: None if every step finished.
    """

    run: Run
    config: PipelineConfig
    directory: Path
    rejected: Path
    failure: Failure | None

    def step(self, name: str) -> Step | None:
        """A step that finished; None if there is none."""
        return next((step for step in self.run.steps if step.name == name and step.finished), None)

    def output(self, step: str, name: str) -> Path | None:
        """The folder of an output of a step that finished; None if there is none."""
        found = self.step(step)
        return found.outputs.get(name) if found else None
