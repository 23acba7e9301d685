"""One run of the whole pipeline on sixty real households, shared by the tests of this folder."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from tfx_pipeline.datasets import complete_journey

CONFIG = """
features: {item_content: [product_type, manufacturer_id], user_profile: [age, kids_count]}
history: {long: 500, short: 30, subsequence: 20}
model: {width: 16, heads: 2, hidden: 32}
training: {validation_users: 6}
retrieval: {categories: 20, per_category: 10, short_term: 50, results: 100}
"""


class PipelineRun(NamedTuple):
    """The command, what it printed, and where it worked."""

    command: list[str]
    output: str
    workdir: Path
    report: str  # as this run left it: later runs of other tests write their own
    events: pd.DataFrame
    catalog: pd.DataFrame
    users: pd.DataFrame

    @property
    def base_path(self) -> Path:
        """The model base path that was pushed to."""
        return self.workdir / "serving" / "ulim"

    def versions(self) -> list[Path]:
        """Everything in the base path, but the file that locks it."""
        return sorted(path for path in self.base_path.iterdir() if path.name != ".lock")


@pytest.fixture(scope="session")
def pipeline_run(tmp_path_factory) -> PipelineRun:
    directory = tmp_path_factory.mktemp("e2e")
    events, catalog, users = complete_journey.write(directory / "data", users=60)
    (directory / "config.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "tfx_pipeline.run_local", "--events", str(events), "--catalog", str(catalog),
               "--users", str(users), "--workdir", str(directory / "run"), "--config", str(directory / "config.yaml"),
               "--train_steps", "30", "--seed", "5"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    report = (directory / "run" / "report" / "index.html").read_text()
    return PipelineRun(command, done.stdout, directory / "run", report, pd.read_parquet(events),
                       pd.read_parquet(catalog), pd.read_parquet(users))
