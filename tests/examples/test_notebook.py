"""The notebook as committed, and run on a few households."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "ulim_in_a_notebook.ipynb"


def output_of(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """The last output of a cell, as HTML if it has that, else as text."""
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    data = cell.outputs[-1].data
    return data.get("text/html", data["text/plain"])


def check(notebook: nbformat.NotebookNode) -> None:
    """What holds of every run."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom, once"
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) == 2
    losses = eval(output_of(notebook, "held-out-losses"))  # a plain dict of numbers
    assert losses["loss"] == pytest.approx(sum(losses[f"{name}_loss"] for name in ("long", "short", "category")))
    recall = pd.read_html(output_of(notebook, "recall"), index_col=0)[0]
    assert recall.index.tolist() == [f"Recall@{at}" for at in (20, 50, 100, 500)]
    assert recall.columns.tolist() == ["ULIM", "the household's own most frequent", "most popular"]
    assert recall.stack().between(0, 1).all() and (recall.diff().iloc[1:] >= 0).all(axis=None)
    assert (recall["ULIM"] > recall["most popular"]).all()
    recommended = pd.read_html(output_of(notebook, "recommendations"), index_col=0)[0]
    assert len(recommended) == 15 and recommended[["product", "category"]].notna().all(axis=None)
    assert recommended["log probability"].is_monotonic_decreasing
    interests = pd.read_html(output_of(notebook, "interests"), index_col=0)[0]
    predicted = interests["predicted"].str.rstrip("%").astype(float)
    assert len(interests) == 10 and predicted.is_monotonic_decreasing and 0 < predicted.sum() <= 100


def test_the_committed_notebook_was_run_and_names_no_machine():
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    check(notebook)
    text = NOTEBOOK.read_text()
    assert not re.search(r"/(home|root|tmp|work|usr|opt|Users)/", text)
    assert not [output for cell in notebook.cells for output in cell.get("outputs", ()) if output.get(
        "name") == "stderr"]


@pytest.mark.e2e
def test_the_notebook_runs(monkeypatch):
    monkeypatch.setenv("ULIM_HOUSEHOLDS", "40")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    check(notebook)
