import json
from pathlib import Path

import pytest

from benchmarks import plots, quality
from ulim_tf.evaluate import Row


def merge(directory: Path, model: str, split: str, value: float) -> None:
    row = Row("all", "all", "recall", 20, value, value - 0.01, value + 0.01, 3)
    quality._merge(directory, model, split, {"steps": 5, "train_minutes": 0.5,
                                             "validation_history": [[5, 0.5, value]]}, [row])


def read(file: Path) -> list[dict]:
    return json.loads(file.read_text())


def test_a_model_measured_again_replaces_its_own_rows_only(tmp_path):
    for model, split, value in (("a", "test", 0.1), ("b", "test", 0.2), ("a", "validation", 0.3), ("a", "test", 0.4)):
        merge(tmp_path, model, split, value)
    rows, runs = read(tmp_path / "quality.json"), read(tmp_path / "quality_runs.json")
    assert rows[-1] == {"model": "a", "split": "test", "targets": "all", "slice": "all", "metric": "recall", "at": 20,
                        "value": 0.4, "low": 0.39, "high": 0.41, "users": 3, "train_minutes": 0.5}
    assert [(row["model"], row["split"], row["value"]) for row in rows] == [
        ("b", "test", 0.2), ("a", "validation", 0.3), ("a", "test", 0.4)]
    assert [(run["model"], run["split"], run["steps"]) for run in runs] == [
        ("b", "test", 5), ("a", "validation", 5), ("a", "test", 5)]
    assert quality._known_steps(tmp_path) == {"a": 5}


def test_every_figure_with_rows_is_drawn(tmp_path):
    for split in quality.SPLITS:
        merge(tmp_path, "a", split, 0.1)
    drawn = plots.draw(read(tmp_path / "quality.json"), read(tmp_path / "quality_runs.json"), tmp_path)
    assert sorted(path.name for path in drawn) == ["minutes.png", "recall.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_an_unknown_model_is_named(capsys):
    with pytest.raises(SystemExit, match=r"must name models of the table, got Ulm\. They are: most popular, "):
        quality.main(["--models", "Ulm"])


def test_names_of_models_are_distinct_and_free_of_commas():
    names = [model.name for model in quality.all_candidates()]
    assert len(set(names)) == len(names) and not any("," in name for name in names)
